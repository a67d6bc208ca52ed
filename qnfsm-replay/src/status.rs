//! The exit statuses of all commands, each with its one name. What they mean to whom is the table in the [crate's documentation](crate) and
//! in docs/guide.md, and `tests/tests/documents.rs` holds both against this list.

/// Every round did what was recorded; of other commands: done.
pub(crate) const DONE: u8 = 0;
/// Of `debug`: a `find` found nothing.
pub(crate) const FOUND_NOTHING: u8 = 1;
/// Used wrongly; clap has the same.
pub(crate) const USAGE: u8 = 2;
/// Something is there, and it isn't the directory of a node.
pub(crate) const NOT_A_NODE: u8 = 10;
/// The directory is empty.
pub(crate) const EMPTY: u8 = 11;
/// There is none.
pub(crate) const MISSING: u8 = 12;
/// A node is running there.
pub(crate) const IN_USE: u8 = 13;
/// The operating system doesn't let this user.
pub(crate) const DENIED: u8 = 14;
/// Another program's directory.
pub(crate) const ANOTHER_PROGRAM: u8 = 15;
/// The program's types are other ones than the recorded.
pub(crate) const CHANGED_TYPES: u8 = 16;
/// Its resources are.
pub(crate) const OTHER_RESOURCES: u8 = 17;
/// The journal is damaged; of `verify`: anything is.
pub(crate) const DAMAGED: u8 = 20;
/// Written by a newer version of the library.
pub(crate) const UNSUPPORTED: u8 = 21;
/// The program doesn't do what was recorded.
pub(crate) const DIVERGED: u8 = 30;
/// Of `cover --min`: less was covered than was asked for.
pub(crate) const BELOW: u8 = 31;
/// Of `bisect`: an invariant doesn't hold.
pub(crate) const BROKEN: u8 = 32;
/// Of `diff`: two journals part.
pub(crate) const JOURNALS_PART: u8 = 33;
/// Of `diff`: all that both journals have is the same, and one goes on behind the other's end.
pub(crate) const ONE_GOES_ON: u8 = 34;
/// Of `states` and `cover`: no handler that was chosen is known to have run.
pub(crate) const NOTHING_TO_DRAW: u8 = 35;
/// Of `diff`: two journals have nothing in common that could be compared.
pub(crate) const NOTHING_IN_COMMON: u8 = 36;
/// The operating system failed to give the bytes, or to take what was to be shown.
pub(crate) const SYSTEM_FAILED: u8 = 40;
/// Of `debug`: interrupted, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// What the help of a command says behind its examples: `$done` is what 0 means, `$own` are those that it has beside those of all
/// commands that read a journal, each followed by a comma.
#[cfg(feature = "cli")]
macro_rules! reading_help {
    ($examples:literal, $done:literal, $own:literal) => {
        concat!(
            $examples,
            "\n\nExit statuses: 0 ",
            $done,
            ", 2 used wrongly, 10 not a node's directory, 11 empty, 12 missing, 13 a node runs there, 14 permission denied, ",
            $own,
            "20 damaged, 21 of a newer version, 40 the system failed to read or to write."
        )
    };
}

/// The same for commands that run what was recorded.
#[cfg(feature = "cli")]
macro_rules! running_help {
    ($examples:literal, $done:literal, $own:literal) => {
        concat!(
            $examples,
            "\n\nExit statuses: 0 ",
            $done,
            ", 2 used wrongly, 10 not a node's directory, 11 empty, 12 missing, 13 a node runs there, 14 permission denied, \
             15 another program's directory, 16 other types, 17 other resources, 20 damaged, 21 of a newer version, \
             30 the program parts from the record, ",
            $own,
            "40 the system failed to read or to write."
        )
    };
}

#[cfg(feature = "cli")]
pub(crate) use {reading_help, running_help};

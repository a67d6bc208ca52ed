//! How a command ends: what it found goes to standard output, what went wrong to standard error, and the exit status says which it was.
//! Where whoever reads has had enough, that is no failure.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};

use super::show::ReadError;
use crate::{
    ReplayError, UnusableDirectory,
    dump::{DumpError, Line},
    status::SYSTEM_FAILED,
};

/// The status that a command ends with.
pub(super) fn conclude(json: bool, done: Result<(), DumpError>) -> ExitCode {
    conclude_with(json, "", done)
}

/// Likewise of a command that has `--live`, which it says where a node is running.
pub(super) fn conclude_with_live(json: bool, done: Result<(), DumpError>) -> ExitCode {
    let is_in_use = |unusable: &UnusableDirectory| matches!(unusable, UnusableDirectory::InUse(_));
    let hint = match &done {
        Err(DumpError::Journal(ReplayError::Directory(unusable))) if is_in_use(unusable) => {
            "; with `--live` this command reads beside a running node"
        }
        _ => "",
    };
    conclude_with(json, hint, done)
}

fn conclude_with(json: bool, hint: &str, done: Result<(), DumpError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed(&error) => ExitCode::SUCCESS,
        Err(DumpError::Output(error)) => {
            // Where standard error is closed, there is nobody to tell; the status tells all the same.
            let _ = writeln!(io::stderr(), "error: cannot write to standard output: {error}");
            ExitCode::from(SYSTEM_FAILED)
        }
        Err(DumpError::Journal(error)) => {
            say_error(json, &error, hint);
            ExitCode::from(error.exit_status())
        }
    }
}

/// True if whoever reads has had enough.
pub(super) fn is_closed(error: &DumpError) -> bool {
    matches!(error, DumpError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

/// What came of printing, for a command whose status is what it found: it is the same if whoever reads has had enough.
pub(super) fn unless_closed(printed: Result<(), DumpError>) -> Result<(), DumpError> {
    printed.or_else(|error| if is_closed(&error) { Ok(()) } else { Err(error) })
}

/// Says what kept a journal from being read, and behind it what else this command can do about it.
pub(super) fn say_error(json: bool, error: &ReplayError, hint: &str) {
    if json {
        let json = serde_json::to_string(&ReadError::new(error)).expect("an error is texts and numbers");
        let _ = writeln!(io::stdout(), "{json}");
    }
    let _ = writeln!(io::stderr(), "error: {error}{hint}");
}

/// Writes all of a text.
pub(super) fn print(text: &str) -> Result<(), DumpError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes an object on a line.
pub(super) fn print_json(object: &impl serde::Serialize) -> Result<(), DumpError> {
    let json = serde_json::to_string(object).expect("what is shown is texts, numbers and lists of them");
    print(&format!("{json}\n"))
}

/// Writes what a journal says on a line, for people or for machines.
pub(super) fn write_line(line: &Line<'_>, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")
    } else {
        writeln!(out, "{line}")
    }
}

/// How texts stand out: with colours where a terminal shows them, unless `NO_COLOR` asks for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    coloured: bool,
}

impl Paint {
    pub(super) fn of_output() -> Paint {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Paint { coloured: io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb }
    }

    /// With no colours.
    #[cfg(test)]
    pub(super) fn none() -> Paint {
        Paint { coloured: false }
    }

    fn painted(self, style: Style, text: &str) -> String {
        if self.coloured { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// What a screen is about.
    pub(super) fn title(self, text: &str) -> String {
        self.painted(Style::new().bold(), text)
    }

    /// What names the things beside it.
    pub(super) fn label(self, text: &str) -> String {
        self.painted(Style::new().dimmed(), text)
    }

    /// What is as it should be.
    pub(super) fn good(self, text: &str) -> String {
        self.painted(AnsiColor::Green.on_default(), text)
    }

    /// What somebody may want to look at.
    pub(super) fn odd(self, text: &str) -> String {
        self.painted(AnsiColor::Yellow.on_default(), text)
    }

    /// What is wrong.
    pub(super) fn bad(self, text: &str) -> String {
        self.painted(AnsiColor::Red.on_default().bold(), text)
    }
}

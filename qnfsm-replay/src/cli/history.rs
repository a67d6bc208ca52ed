//! Where the debugger's prompt keeps what was typed, from one run to the next. Nothing is ever written into a node's directory.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use crate::ReplayError;

/// Where it is below the directory for what programs keep, whichever program asks: their commands are the same.
const FILE: &str = "qnfsm/debug-history";
/// What such a file begins with, as the prompt's library writes it.
const MARK: &[u8] = b"#V2";

/// The file, unless there is no place for it outside of these nodes' directories.
pub(super) fn file<'d>(
    given: Option<&PathBuf>,
    node_dirs: impl IntoIterator<Item = &'d Path>,
) -> Result<Option<PathBuf>, ReplayError> {
    let refuse = |file: &Path| node_dirs.into_iter().try_for_each(|dir| refuse_within(file, dir));
    match given {
        Some(file) => refuse(file).and_then(|()| refuse_another(file)).map(|()| Some(file.clone())),
        None => Ok(usual().filter(|file| refuse(file).is_ok())),
    }
}

/// Below `$XDG_STATE_HOME`, or where that is unless it is said.
fn usual() -> Option<PathBuf> {
    let of = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let state = of("XDG_STATE_HOME").or_else(|| of("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join(FILE))
}

/// Refuses a file that would lie in the node's directory or in another node's, by whatever way it is named, and what is no file.
pub(super) fn refuse_within(file: &Path, node_dir: &Path) -> Result<(), ReplayError> {
    let refuse = |why: &str| Err(ReplayError::Misuse(format!("{} {why}; give another file", file.display())));
    let is_link = file.symlink_metadata().is_ok_and(|it| it.is_symlink());
    match file.metadata() {
        Ok(there) if !there.is_file() => return refuse("is no file"),
        Err(_) if is_link => return refuse("is a link to nothing"),
        _ => {}
    }
    // What isn't there yet would lie in the nearest directory that is.
    let whole = std::path::absolute(file).ok();
    let there = whole.and_then(|file| file.ancestors().find_map(|path| path.canonicalize().ok()));
    let is_in = |there: PathBuf| {
        let is_in_this = node_dir.canonicalize().is_ok_and(|dir| there.starts_with(dir));
        is_in_this || there.ancestors().skip(1).chain([there.as_path()]).any(|dir| dir.join("manifest").is_file())
    };
    if there.is_some_and(is_in) {
        return refuse("is in a node's directory, where nothing is written");
    }
    Ok(())
}

/// Refuses a file that holds something else.
fn refuse_another(file: &Path) -> Result<(), ReplayError> {
    let mut front = Vec::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|opened| opened.take(MARK.len() as u64).read_to_end(&mut front));
    if read.is_ok() && !front.is_empty() && front != MARK {
        let text = format!("{} holds something else than what was typed here; give another file", file.display());
        return Err(ReplayError::Misuse(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_node_s_directory_is_refused_however_it_is_named() {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let (node, beside) = (dir.path().join("node"), dir.path().join("beside"));
        [&node, &beside].into_iter().for_each(|dir| std::fs::create_dir(dir).expect("there is room"));
        let within = ["history", "not/there/yet", "../node/history", "../beside/../node/history"];
        within.into_iter().for_each(|name| assert!(refuse_within(&node.join(name), &node).is_err(), "{name}"));
        let outside = ["../history", "../beside/history", "../node-history"];
        outside.into_iter().for_each(|name| assert!(refuse_within(&node.join(name), &node).is_ok(), "{name}"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&node, beside.join("way")).expect("there is room");
            assert!(refuse_within(&beside.join("way/history"), &node).is_err());
            std::os::unix::fs::symlink(node.join("not-there"), beside.join("nowhere")).expect("there is room");
            assert!(refuse_within(&beside.join("nowhere"), &node).is_err());
            assert!(refuse_within(Path::new("/dev/null"), &node).is_err());
        }
        assert!(file(Some(&node.join("history")), [beside.as_path(), &node]).is_err());
        // Another node's, and a file that is something else.
        let [notes, other] = ["notes", "other"].map(|name| dir.path().join(name));
        std::fs::write(&notes, "my notes").expect("there is room");
        assert!(file(Some(&notes), [node.as_path()]).is_err());
        std::fs::write(&notes, "#V2\nstep\n").expect("there is room");
        assert!(file(Some(&notes), [node.as_path()]).is_ok());
        std::fs::create_dir(&other).expect("there is room");
        std::fs::write(other.join("manifest"), "").expect("there is room");
        assert!(refuse_within(&other.join("lock"), &node).is_err());
    }
}

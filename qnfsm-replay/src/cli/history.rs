//! Where the debugger's prompt keeps what was typed, from one run to the next. Nothing is ever written into a node's directory.

use std::path::{Path, PathBuf};

use crate::ReplayError;

/// Where it is below the directory for what programs keep, whichever program asks: their commands are the same.
const FILE: &str = "qnfsm/debug-history";

/// The file, unless there is no place for it outside of these nodes' directories.
pub(super) fn file<'d>(
    given: Option<&PathBuf>,
    node_dirs: impl IntoIterator<Item = &'d Path>,
) -> Result<Option<PathBuf>, ReplayError> {
    let refuse = |file: &Path| node_dirs.into_iter().try_for_each(|dir| refuse_within(file, dir));
    match given {
        Some(file) => refuse(file).map(|()| Some(file.clone())),
        None => Ok(usual().filter(|file| refuse(file).is_ok())),
    }
}

/// Below `$XDG_STATE_HOME`, or where that is unless it is said.
fn usual() -> Option<PathBuf> {
    let of = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let state = of("XDG_STATE_HOME").or_else(|| of("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join(FILE))
}

/// Refuses a file that would lie in the node's directory, by whatever way it is named.
pub(super) fn refuse_within(file: &Path, node_dir: &Path) -> Result<(), ReplayError> {
    let is_within = || {
        let (file, dir) = (std::path::absolute(file).ok()?, node_dir.canonicalize().ok()?);
        // What isn't there yet would lie in the nearest directory that is.
        let there = file.ancestors().find_map(|path| path.canonicalize().ok())?;
        Some(there.starts_with(dir))
    };
    if is_within() != Some(true) {
        return Ok(());
    }
    let text = format!("{} is in the node's directory, where nothing is written; give another file", file.display());
    Err(ReplayError::Misuse(text))
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
        }
        assert!(file(Some(&node.join("history")), [beside.as_path(), &node]).is_err());
    }
}

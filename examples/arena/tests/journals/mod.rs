//! A journal that wasn't made for a test: the arena's under load, killed twice and recovered. Made once for a test binary.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    mem,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use serde_json::Value;

/// A directory that goes away with it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("arena-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("there is room for a directory");
        Dir(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

static ALONE: Mutex<()> = Mutex::new(());

/// One test at a time: a process that another one starts holds this one's files until it has become the program, and among them
/// the locks of directories that were let go of meanwhile.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The directories of a server and its bots, `server` and `bots`. Whoever changes them takes a copy.
pub(crate) fn made() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        // Nobody lets go of what is static, so it lies where the next run takes it away. A runner may give each test a process: they take
        // turns, until they end.
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(concat!("journals-", env!("CARGO_CRATE_NAME")));
        let turn = File::create(dir.with_extension("turn")).expect("it can be made");
        turn.lock().expect("it can be locked");
        mem::forget(turn);
        let _ = fs::remove_dir_all(&dir);
        let path = dir.to_string_lossy().into_owned();
        let arguments =
            ["demo", "--seconds", "3", "--bots", "10", "--kills", "2", "--seed", "7", "--json", "--dir", &path];
        let output = arena(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        dir
    })
}

/// A copy of the directory of a `server` or of `bots`, with a name of its own.
pub(crate) fn copy(node: &str, name: &str) -> Dir {
    let dir = Dir::new(name);
    copy_all(&made().join(node), dir.path());
    dir
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("it is there") {
        let (from, name) = entry.map(|entry| (entry.path(), entry.file_name())).expect("it is there");
        let to = to.join(name);
        if from.is_dir() {
            fs::create_dir_all(&to).expect("there is room");
            copy_all(&from, &to);
        } else {
            fs::copy(&from, &to).expect("there is room");
        }
    }
}

/// What the program says to these arguments.
pub(crate) fn arena(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arena")).args(arguments).output().expect("the program can be started")
}

/// What a command says of a directory: its status, and both outputs.
pub(crate) fn run(command: &str, dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let dir = dir.to_string_lossy();
    let output = arena(&[&[command, &*dir], arguments].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// What a command that must succeed says, as JSON, line by line.
#[track_caller]
pub(crate) fn json(command: &str, dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let (status, out, err) = run(command, dir, &[&["--json"], arguments].concat());
    assert_eq!(status, 0, "{command}: {err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// All files below a directory with their bytes.
pub(crate) fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("it is there") {
        let path = entry.expect("it is there").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).expect("it can be read");
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

/// The path of a segment.
pub(crate) fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join("journal").join(format!("{number:08}.qjl"))
}

/// Changes a byte of a file.
pub(crate) fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("it is there");
    bytes[at] ^= 0x40;
    fs::write(path, bytes).expect("it can be written");
}

/// The middle of a file.
pub(crate) fn middle(path: &Path) -> usize {
    usize::try_from(fs::metadata(path).expect("it is there").len() / 2).expect("it is short")
}

/// A server that runs until its standard input ends.
pub(crate) struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
}

pub(crate) fn serve(dir: &Dir) -> Server {
    let mut child = Command::new(env!("CARGO_BIN_EXE_arena"))
        .args(["serve", "--until-stdin-ends", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    Server { child, out }
}

impl Server {
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it says something");
        line
    }

    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        let _ = self.out.read_to_string(&mut String::new());
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

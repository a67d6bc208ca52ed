//! The subcommand `debug`: lines from a prompt, a script or the command line itself, handed on to a [`Debugger`].

use std::{
    cell::RefCell,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::Args;
use qnfsm::{Catalogue, Kinds};
use serde::Serialize;
use signal_hook::consts::SIGINT;

use super::{
    Program, history,
    output::say_error,
    program::Programs,
    prompt::{Asked, Prompt},
    show::{LiveLine, ReadError},
    sound::{say_left_out, say_stopped},
};
use crate::{
    Debugger, Options, ReplayError, Seen, Session,
    debug::{Answer, DebugError},
    status::{FOUND_NOTHING, INTERRUPTED, SYSTEM_FAILED, USAGE, running_help},
};

/// Goes through a journal step by step, in both directions: stops where something holds, shows FSMs as they were, and what led to a message.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = HELP)]
pub struct DebugArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// Look at this node too: `why` walks over into it, where it sent what was handled, and `node N` goes there. May be given several times.
    #[arg(long, value_name = "DIR")]
    pub with: Vec<PathBuf>,
    /// Do this command, and end behind the last one. May be given several times.
    #[arg(short, long = "command", value_name = "COMMAND")]
    pub commands: Vec<String>,
    /// Print each answer as one JSON object on a line.
    #[arg(long)]
    pub json: bool,
    /// Take so much memory to come back to earlier rounds, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub memory: usize,
    /// Keep what is typed at the prompt in that file, for the next time, and not in `qnfsm/debug-history` below $XDG_STATE_HOME
    /// (~/.local/state unless it is set). Not in the node's directory.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Keep nothing of what is typed for the next time.
    #[arg(long, conflicts_with = "history")]
    pub no_history: bool,
}

const HELP: &str = running_help!(
    "Without --command it asks for commands, where standard input and output are a terminal, or reads them from there, a line each. A line of \
     such a script that is wrong ends it; empty lines and those that begin with # are passed over. `help` lists the commands.\n\n\
     Examples:\n  my-service debug DIR\n  my-service debug DIR --with OTHER_DIR\n  \
     my-service debug DIR --json --command 'find ended panicked' --command why",
    "all was done, 1 a `find` found nothing",
    "130 interrupted, "
);

impl DebugArgs {
    /// Opens the directory, does what it is told to, and says with which status the program ends. `program` is the name that the node was
    /// built with.
    #[must_use]
    pub fn execute(&self, program: &str, kinds: Kinds) -> ExitCode {
        self.execute_among(Program::new(program, kinds))
    }

    /// Likewise, with the one of several programs that each directory says.
    pub(super) fn execute_among(&self, program: Program) -> ExitCode {
        // The first of the journals that can't be gone through to their ends: its status, and what is said of it.
        let mut stopped = None;
        let opened = history::file(self.history.as_ref(), self.dirs()).and_then(|history| {
            let mut sessions = self.open_all(program)?;
            sessions.iter().for_each(|session| say_left_out(session, session.stopped()));
            for error in sessions.iter().filter_map(Session::stopped) {
                say_stopped(error);
                stopped.get_or_insert_with(|| {
                    let json = serde_json::to_string(&ReadError::new(error)).expect("an error is texts and numbers");
                    (error.exit_status(), json)
                });
            }
            let others = sessions.split_off(1);
            Ok((Debugger::new(sessions.remove(0)).with(others)?, history.filter(|_| !self.no_history)))
        });
        let (mut debugger, history) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                say_error(self.json, &error, "");
                return ExitCode::from(error.exit_status());
            }
        };
        debugger.set_json(self.json);
        watch_progress(&mut debugger);
        let interruption = debugger.interruption();
        // Where there can be no handler, an interrupt ends the program, as it does without one.
        let _ = signal_hook::flag::register(SIGINT, interruption.clone());
        let status = match self.source() {
            Source::Lines => self.run_script(&mut debugger, &interruption, self.commands.iter().cloned().map(Ok)),
            Source::Script => self.run_script(&mut debugger, &interruption, io::stdin().lock().lines()),
            Source::Prompt => self.prompt(debugger, history),
        };
        match stopped.filter(|_| status == 0) {
            Some((status, json)) => {
                if self.json {
                    // Behind the answers, as the commands have it that show what stands before. Where standard output is closed, there
                    // is nobody to tell.
                    let _ = print(&json);
                }
                ExitCode::from(status)
            }
            None => ExitCode::from(status),
        }
    }

    fn source(&self) -> Source {
        match self.commands.is_empty() {
            false => Source::Lines,
            true if io::stdin().is_terminal() && io::stdout().is_terminal() => Source::Prompt,
            true => Source::Script,
        }
    }

    /// The session that is looked at, and behind it those of further nodes.
    fn open_all(&self, program: Program) -> Result<Vec<Session>, ReplayError> {
        let programs = Programs::new(program)?;
        self.dirs().map(|dir| self.open(dir, programs.of(dir))).collect()
    }

    fn dirs(&self) -> impl Iterator<Item = &Path> {
        [&self.dir].into_iter().chain(&self.with).map(PathBuf::as_path)
    }

    fn open(&self, dir: &Path, (program, catalogue): &(String, Arc<Catalogue>)) -> Result<Session, ReplayError> {
        let line = LiveLine::new("replaying", false);
        let options = Options::new().program(program).memory(self.memory.saturating_mul(1 << 20)).on_progress(|seen| {
            let Seen { rounds, messages, bytes, bytes_total } = seen;
            line.draw(bytes, bytes_total, || format!(", {rounds} rounds, {messages} messages"));
        });
        let session = Session::open_sealed(dir, catalogue.clone(), &options);
        drop(options);
        line.clear();
        session
    }

    /// Does one line after another; the first that fails is told, and ends it.
    fn run_script(
        &self,
        debugger: &mut Debugger,
        interruption: &Arc<AtomicBool>,
        lines: impl Iterator<Item = io::Result<String>>,
    ) -> u8 {
        let mut is_read = true;
        for (number, line) in (1..).zip(lines) {
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    let _ = writeln!(io::stderr(), "error: line {number} can't be read: {error}");
                    return USAGE;
                }
            };
            if interruption.load(Ordering::Relaxed) {
                return INTERRUPTED;
            }
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            match debugger.line(&line) {
                Ok(Answer { ended: true, .. }) => return 0,
                Ok(answer) if is_read => match print(&answer.text) {
                    Ok(()) => {}
                    // Of commands that were given, what the rest comes to is the same, and the status tells it. A script may never end.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.commands.is_empty() => return 0,
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => is_read = false,
                    Err(error) => {
                        let _ = writeln!(io::stderr(), "error: cannot write to standard output: {error}");
                        return SYSTEM_FAILED;
                    }
                },
                Ok(_) => {}
                Err(error) => {
                    self.say_wrong(debugger.is_json(), Some(number), &line, &error);
                    return status_of(&error);
                }
            }
        }
        0
    }

    /// Asks for one line after another, until there is enough.
    fn prompt(&self, debugger: Debugger, history: Option<PathBuf>) -> u8 {
        let greeting = greeting(&debugger);
        let debugger = Rc::new(RefCell::new(debugger));
        let mut prompt = match Prompt::new(debugger.clone(), history) {
            Ok(prompt) => prompt,
            Err(error) => {
                let _ =
                    writeln!(io::stderr(), "error: the terminal can't be used: {error}; give commands with --command");
                return SYSTEM_FAILED;
            }
        };
        let mut shown = print(&greeting);
        while shown.is_ok() {
            // The debugger is free while the prompt is up, which completes by it.
            let place = ask(&mut debugger.borrow_mut());
            let line = match prompt.ask(&place) {
                Asked::Line(line) => line,
                Asked::Nothing => continue,
                Asked::End => {
                    // What comes next in the terminal begins on a line of its own.
                    let _ = writeln!(io::stdout());
                    break;
                }
                Asked::Failed(error) => {
                    let _ = writeln!(io::stderr(), "error: the terminal can't be read: {error}");
                    return SYSTEM_FAILED;
                }
            };
            let answer = debugger.borrow_mut().line(&line);
            shown = match answer {
                Ok(Answer { ended: true, .. }) => break,
                Ok(answer) => print(&answer.text),
                Err(error) => {
                    self.say_wrong(debugger.borrow().is_json(), None, &line, &error);
                    Ok(())
                }
            };
        }
        // A terminal that is gone is nobody's failure.
        0
    }

    /// Tells why nothing came of a line: by its number, if it is one of several.
    fn say_wrong(&self, json: bool, number: Option<usize>, line: &str, error: &DebugError) {
        let column = match error {
            DebugError::Line(wrong) => Some(wrong.column(line)),
            _ => None,
        };
        if json {
            let wrong = Wrong {
                what: "error",
                exit_status: status_of(error),
                line: number,
                column,
                message: error.to_string(),
            };
            let json = serde_json::to_string(&wrong).expect("an error is texts and numbers");
            let _ = writeln!(io::stdout(), "{json}");
        }
        let place = match (number, column) {
            (Some(number), Some(column)) => format!("line {number}, column {column}: "),
            (Some(number), None) => format!("line {number}: "),
            (None, Some(column)) => format!("column {column}: "),
            (None, None) => String::new(),
        };
        if !json || number.is_some() {
            let _ = writeln!(io::stderr(), "error: {place}{error}");
        }
    }
}

/// Where lines come from.
enum Source {
    Lines,
    Script,
    Prompt,
}

/// Why nothing came of a line, as JSON.
#[derive(Serialize)]
struct Wrong {
    what: &'static str,
    exit_status: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    message: String,
}

fn status_of(error: &DebugError) -> u8 {
    match error {
        DebugError::Line(_) => USAGE,
        DebugError::NotFound(_) => FOUND_NOTHING,
        DebugError::Replay(error) => error.exit_status(),
        DebugError::Interrupted => INTERRUPTED,
    }
}

/// What is said before the first prompt.
fn greeting(debugger: &Debugger) -> String {
    if debugger.is_json() {
        return debugger.here();
    }
    format!("{}\n`help` lists the commands, `quit` ends.", debugger.here())
}

/// The prompt: where the session stands.
fn ask(debugger: &mut Debugger) -> String {
    let node = debugger.one_of_several().map_or(String::new(), |node| format!("n{} ", node.0));
    debugger.session().spot().map_or(format!("{node}> "), |spot| format!("{node}{}:{}> ", spot.worker, spot.round))
}

/// Writes an answer, if there is any.
fn print(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Draws how far a search has come, where it takes long.
fn watch_progress(debugger: &mut Debugger) {
    let mut line = None;
    debugger.on_progress(move |progress| {
        let drawn = line.get_or_insert_with(|| LiveLine::later("searching"));
        if progress.rounds < progress.rounds_total {
            drawn.draw(progress.rounds, progress.rounds_total, || format!(", {} rounds", progress.rounds));
        }
        if progress.is_over {
            drawn.clear();
            line = None;
        }
    });
}

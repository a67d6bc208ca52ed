//! The prompt of the debugger: a line editor with history and completion. All that is known of the terminal is known here.

use std::{
    cell::RefCell,
    fs,
    io::{self, Write},
    path::PathBuf,
    rc::Rc,
};

use rustyline::{
    CompletionType, Config, Context, Editor, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::FileHistory, validate::Validator,
};

use crate::Debugger;

/// How many lines are kept.
const LINES_MAX: usize = 1000;

/// Asks for lines.
pub(super) struct Prompt {
    editor: Editor<Completing, FileHistory>,
    /// Where they are kept for the next time.
    kept_in: Option<PathBuf>,
}

/// What came of asking.
pub(super) enum Asked {
    /// A line, which may be empty.
    Line(String),
    /// The line was given up.
    Nothing,
    /// There will be no more.
    End,
    /// The terminal failed.
    Failed(ReadlineError),
}

impl Prompt {
    /// One that knows the lines that are kept in a file, if there is one, and keeps those that come.
    pub(super) fn new(debugger: Rc<RefCell<Debugger>>, kept_in: Option<PathBuf>) -> Result<Prompt, ReadlineError> {
        let config = Config::builder().completion_type(CompletionType::List).max_history_size(LINES_MAX)?.build();
        let history = FileHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history)?;
        editor.set_helper(Some(Completing(debugger)));
        let mut prompt = Prompt { editor, kept_in };
        prompt.keeping(|editor, file| {
            file.parent().map_or(Ok(()), fs::create_dir_all)?;
            if file.exists() { editor.load_history(file) } else { Ok(()) }
        });
        Ok(prompt)
    }

    /// Does something with the file of what is kept. Where that fails, it is said, and no more is kept: the session goes on.
    fn keeping(
        &mut self,
        work: impl FnOnce(&mut Editor<Completing, FileHistory>, &PathBuf) -> Result<(), ReadlineError>,
    ) {
        let Some(file) = &self.kept_in else { return };
        if let Err(error) = work(&mut self.editor, file) {
            let _ = writeln!(io::stderr(), "note: what is typed is not kept: {}: {error}", file.display());
            self.kept_in = None;
        }
    }

    /// Asks for a line.
    pub(super) fn ask(&mut self, prompt: &str) -> Asked {
        match self.editor.readline(prompt) {
            Ok(line) => {
                if !line.trim().is_empty() {
                    self.keep(&line);
                }
                Asked::Line(line)
            }
            Err(ReadlineError::Interrupted) => Asked::Nothing,
            Err(ReadlineError::Eof) => Asked::End,
            Err(error) => Asked::Failed(error),
        }
    }

    fn keep(&mut self, line: &str) {
        // A line that isn't taken, as one that is the same as the last, can be typed again.
        if self.editor.add_history_entry(line).unwrap_or(false) {
            self.keeping(|editor, file| editor.append_history(file));
        }
    }
}

/// Completes what the debugger knows.
struct Completing(Rc<RefCell<Debugger>>);

impl Helper for Completing {}
impl Hinter for Completing {
    type Hint = String;
}
impl Highlighter for Completing {}
impl Validator for Completing {}

impl Completer for Completing {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let completion = self.0.borrow().complete(line.get(..pos).unwrap_or_default());
        Ok((completion.at, completion.words))
    }
}

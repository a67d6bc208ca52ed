//! The prompt of the debugger: a line editor with history and completion. All that is known of the terminal is known here.

use std::{cell::RefCell, rc::Rc};

use rustyline::{
    CompletionType, Config, Context, Editor, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::MemHistory, validate::Validator,
};

use crate::Debugger;

/// Asks for lines.
pub(super) struct Prompt {
    editor: Editor<Completing, MemHistory>,
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
    pub(super) fn new(debugger: Rc<RefCell<Debugger>>) -> Result<Prompt, ReadlineError> {
        let config = Config::builder().completion_type(CompletionType::List).build();
        let history = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history)?;
        editor.set_helper(Some(Completing(debugger)));
        Ok(Prompt { editor })
    }

    /// Asks for a line.
    pub(super) fn ask(&mut self, prompt: &str) -> Asked {
        match self.editor.readline(prompt) {
            Ok(line) => {
                if !line.trim().is_empty() {
                    // A line that isn't kept can be typed again.
                    let _ = self.editor.add_history_entry(line.as_str());
                }
                Asked::Line(line)
            }
            Err(ReadlineError::Interrupted) => Asked::Nothing,
            Err(ReadlineError::Eof) => Asked::End,
            Err(error) => Asked::Failed(error),
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

//! What a line can go on with: commands, and the names of kinds, variants, fields and queues that fit where the cursor is.

use std::collections::BTreeSet;

use qnfsm::schema::{Outlook, Path};

use super::{
    Debugger,
    command::COMMANDS,
    expression::{CameIs, EndIs, HandlerIs, Root},
    parse::STARTS,
    predicate::printers,
};
use crate::dump::Tables;

/// What can stand in place of a line's last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Where that word begins, in bytes from the line's start.
    pub at: usize,
    /// What can stand there, in order.
    pub words: Vec<String>,
}

/// How many words are offered.
const WORDS_MAX: usize = 200;

impl Debugger {
    /// What a line can go on with; `line` is what stands before the cursor.
    #[must_use]
    pub fn complete(&self, line: &str) -> Completion {
        let is_space = |letter: char| letter.is_whitespace() || letter == '(';
        let at = line.rfind(is_space).map_or(0, |space| space + line[space..].chars().next().map_or(1, char::len_utf8));
        let begun = &line[at..];
        let before: Vec<&str> = line[..at].split(is_space).filter(|word| !word.is_empty()).collect();
        let mut words = self.words(&before, begun);
        words.retain(|word| word.starts_with(begun));
        Completion { at, words: words.into_iter().take(WORDS_MAX).collect() }
    }

    fn words(&self, before: &[&str], begun: &str) -> BTreeSet<String> {
        let Some((name, behind)) = before.split_first() else {
            return COMMANDS.iter().map(|help| help.name.to_owned()).collect();
        };
        let help = COMMANDS.iter().find(|help| help.name == *name || help.short == *name);
        let kinds = || self.tables.kinds().map(|(_, kind)| kind.table.name.clone());
        match help.map_or("", |help| help.name) {
            "break" | "find" | "rfind" => self.of_expression(behind, begun),
            "watch" if behind.is_empty() => self.queues(),
            "watch" => fields(&self.tables, &[Root::Data, Root::State], begun),
            "state" | "fsm" | "queue" | "timers" if behind.is_empty() => self.queues(),
            "fsms" if behind.is_empty() => kinds().chain(self.session.workers().map(|it| it.to_string())).collect(),
            "kinds" if behind.is_empty() => kinds().collect(),
            "json" => ["on", "off"].map(str::to_owned).into(),
            "help" => COMMANDS.iter().map(|help| help.name).chain(["expressions"]).map(str::to_owned).collect(),
            _ => BTreeSet::new(),
        }
    }

    fn of_expression(&self, before: &[&str], begun: &str) -> BTreeSet<String> {
        let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
        let [.., subject, last] = *[&["", ""], before].concat() else { return BTreeSet::new() };
        match (subject, last) {
            (_, "came") => CameIs::ALL.iter().map(|it| it.word().to_owned()).collect(),
            (_, "ended") => EndIs::ALL.iter().map(|it| it.word().to_owned()).collect(),
            ("handler", "is") => HandlerIs::ALL.iter().map(|it| it.word().to_owned()).collect(),
            (_, "sent") => variants(&self.tables, Root::Message, ""),
            (_, "changed") => fields(&self.tables, &[Root::Data, Root::State], begun),
            ("kind", _) => self.tables.kinds().map(|(_, kind)| kind.table.name.clone()).collect(),
            ("queue" | "sender", _) => self.queues(),
            ("worker", _) => self.session.workers().map(|worker| worker.to_string()).collect(),
            (subject, "is" | "was" | "==" | "!=") => match root_of(subject) {
                Some((root, path)) => variants(&self.tables, root, path),
                None => BTreeSet::new(),
            },
            (_, "" | "and" | "or" | "not") => {
                let roots = [Root::Message, Root::Data, Root::Old, Root::State];
                let mut words = fields(&self.tables, &roots, begun);
                words.extend(STARTS.map(str::to_owned));
                words
            }
            (_, "state") => texts(&["is", "was", "==", "!="]),
            (_, "kind" | "queue" | "sender" | "worker") => texts(&["==", "!="]),
            (_, "handler") => texts(&["is"]),
            (_, last) if root_of(last).is_some() || last == "round" => texts(&["is", "==", "!=", "<", "<=", ">", ">="]),
            _ => texts(&["and", "or"]),
        }
    }

    /// The queues that the round is about.
    fn queues(&self) -> BTreeSet<String> {
        let steps = self.session.log().map_or(&[][..], |log| &log.steps);
        let senders = steps.iter().filter_map(|step| step.message.as_ref()).map(|message| message.sender);
        steps.iter().map(|step| step.queue).chain(senders).map(|queue| queue.to_string()).collect()
    }
}

/// What a word is a field of, and the path that stands behind.
fn root_of(word: &str) -> Option<(Root, &str)> {
    let end = word.find(['.', '[']).unwrap_or(word.len());
    let roots = [Root::Message, Root::Data, Root::Old, Root::State];
    let root = roots.into_iter().find(|root| root.word() == &word[..end])?;
    Some((root, &word[end..]))
}

fn outlook(tables: &Tables, root: Root, path: &str) -> Outlook {
    let mut outlook = Outlook::default();
    if let Ok(path) = path.parse::<Path>() {
        printers(root, tables).for_each(|(_, printer)| outlook.merge(printer.outlook(&path)));
    }
    outlook
}

fn variants(tables: &Tables, root: Root, path: &str) -> BTreeSet<String> {
    outlook(tables, root, path).variants
}

/// The fields that the last dot of a word may be followed by, with all that stands before; or what a field can be of.
fn fields(tables: &Tables, roots: &[Root], begun: &str) -> BTreeSet<String> {
    let Some(((root, path), dot)) = root_of(begun).zip(begun.rfind('.')) else {
        return roots.iter().map(|root| root.word().to_owned()).collect();
    };
    let path = &path[..path.rfind('.').unwrap_or(path.len())];
    let names = outlook(tables, root, path).fields;
    names.into_iter().map(|name| format!("{}{name}", &begun[..=dot])).collect()
}

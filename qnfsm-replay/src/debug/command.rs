//! The commands of a debugger: which there are, how they are called, and what a line says of them.

use std::time::Duration;

use qnfsm::{NodeId, RawQueueId, Time, WorkerId, journal::Position, spelt::number};

use super::{
    WrongLine,
    expression::Expression,
    nearest::instead,
    parse::{node, queue, refusal, worker},
};
use crate::{dump::Instant, naming::RoundName, session::By};

/// One command, as `help` tells of it.
#[derive(Debug, Clone, Copy)]
pub struct Help {
    /// Its name.
    pub name: &'static str,
    /// A shorter one; empty, if it has none.
    pub short: &'static str,
    /// What stands behind it.
    pub arguments: &'static str,
    /// What it does.
    pub about: &'static str,
    /// An example.
    pub example: &'static str,
}

macro_rules! commands {
    ($($name:literal $short:literal $arguments:literal $about:literal $example:literal;)*) => {
        &[$(Help { name: $name, short: $short, arguments: $arguments, about: $about, example: $example }),*]
    };
}

/// All commands, in the order in which `help` lists them.
pub const COMMANDS: &[Help] = commands! {
    "step" "s" "[N]" "goes N runs of handlers on, one unless it is said" "step 3";
    "back" "b" "[N]" "goes N runs of handlers back" "back";
    "turn" "t" "[N]" "goes to the next FSM's turn, N times; back with a number below zero" "turn -1";
    "round" "r" "[N]" "goes to the next round of any worker, N times; back with a number below zero" "round 10";
    "goto" "g" "WHERE" "goes to a round by its ordinal (120) or its worker's number (w0:17), to a place of the journal (1:4096), to a time (2026-01-31T12:00:00.5Z), or so far on from here (+1.5s, -20ms)" "goto w0:17";
    "start" "" "" "goes to the first step" "start";
    "end" "" "[WHERE]" "goes to the last step; to that of a round, if one is named as for `goto`" "end w0:17";
    "break" "br" "[EXPRESSION]" "stops `run` and `reverse` at steps for which it holds; alone, lists what stops them" "break kind == world and message is Move";
    "watch" "w" "QUEUE [FIELD]" "stops them at steps that change a field of an FSM's data, or its state" "watch w0/1.1 data.score";
    "delete" "d" "[NUMBER]" "takes a stop out, by its number; alone, all of them" "delete 2";
    "run" "c" "" "goes on to the next step at which something stops it, or to the end" "run";
    "reverse" "rc" "" "goes back to the step before at which something stops it, or to the start" "reverse";
    "find" "f" "EXPRESSION" "goes on to the next step for which it holds, if there is one" "find message is Join";
    "rfind" "rf" "EXPRESSION" "goes back to the step before for which it holds, if there is one" "rfind changed data.score";
    "why" "y" "[N]" "what led to this step: the step that sent what was handled, the one before that, up to N of them" "why";
    "node" "" "[N]" "goes to another of the nodes that are open, where it was left; alone, lists them" "node 2";
    "show" "p" "" "this step: the message, the FSM before and after, what it asked for" "show";
    "where" "" "" "this step's place: round, step, time, position" "where";
    "state" "st" "[QUEUE]" "an FSM's state and data after this step: of the step's FSM, unless it is said" "state w1/0.1";
    "fsm" "" "[QUEUE]" "an FSM, and all that waits for it: messages, timers, requests" "fsm w0/2.1";
    "queue" "q" "[QUEUE]" "the messages that wait for an FSM" "queue";
    "timers" "" "[QUEUE]" "an FSM's timers" "timers";
    "fsms" "" "[KIND|WORKER]" "the FSMs of this step's worker or of another; of that kind" "fsms w1";
    "sent" "" "" "what this step asked for: messages, timers, FSMs" "sent";
    "inputs" "in" "" "what this round was fed with" "inputs";
    "outputs" "out" "" "what this round put out" "outputs";
    "kinds" "" "[KIND]" "the kinds of the program; the fields, states and messages of one" "kinds world";
    "json" "" "on|off" "whether answers are lines of JSON" "json on";
    "chars" "" "N" "shows at most so many characters of one value" "chars 2000";
    "lines" "" "N" "shows at most so many lines of a list: inputs, FSMs, what waits, what changed" "lines 1000";
    "help" "h" "[COMMAND]" "these commands, or one of them; `help expressions` for what can be asked of a step" "help break";
    "quit" "exit" "" "ends the session" "quit";
};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Go(By, i64),
    Goto(Destination),
    Start,
    End(Option<Destination>),
    Stops,
    Break(Expression, String),
    /// With where the field begins, behind the command.
    Watch(RawQueueId, Option<String>, usize),
    Delete(Option<usize>),
    Run,
    Reverse,
    Find(Expression, bool),
    Why(usize),
    Node(Option<NodeId>),
    Show,
    Where,
    State(Option<RawQueueId>),
    Fsm(Option<RawQueueId>),
    Queue(Option<RawQueueId>),
    Timers(Option<RawQueueId>),
    Fsms(Option<WorkerId>, Option<String>),
    Sent,
    Inputs,
    Outputs,
    Kinds(Option<String>),
    Json(bool),
    Chars(usize),
    Lines(usize),
    Help(Option<String>),
    Quit,
}

/// Where to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Ordinal(u64),
    Round(WorkerId, u64),
    Position(Position),
    Time(Time),
    After(Duration),
    Before(Duration),
}

/// How many causes are shown unless it is said.
const CAUSES_DEFAULT: usize = 20;

/// What other debuggers call the commands that whoever comes from them types first.
const ELSEWHERE: [(&str, &str); 12] = [
    ("continue", "run"),
    ("cont", "run"),
    ("reverse-continue", "reverse"),
    ("next", "step"),
    ("n", "step"),
    ("stepi", "step"),
    ("reverse-step", "back"),
    ("rs", "back"),
    ("print", "state"),
    ("info", "show"),
    ("bt", "why"),
    ("backtrace", "why"),
];

/// A line, in parts.
struct Words<'l> {
    line: &'l str,
    /// Where what stands behind the command begins.
    at: usize,
}

impl<'l> Words<'l> {
    fn rest(&self) -> &'l str {
        self.line[self.at..].trim_end()
    }

    fn wrong<T>(&self, what: impl Into<String>) -> Result<T, WrongLine> {
        Err(WrongLine { at: self.at, what: what.into() })
    }

    fn none(&self, command: Command) -> Result<Command, WrongLine> {
        if self.rest().is_empty() { Ok(command) } else { self.wrong("nothing is expected behind this command") }
    }

    fn optional<T>(&self, read: impl Fn(&str) -> Option<T>, what: &str) -> Result<Option<T>, WrongLine> {
        match self.rest() {
            "" => Ok(None),
            text => match read(text) {
                None => self.wrong(refusal(text, read, what)),
                read => Ok(read),
            },
        }
    }

    fn count(&self) -> Result<i64, WrongLine> {
        let count = self.optional(|text| text.parse().ok(), "a count")?;
        Ok(count.unwrap_or(1))
    }

    /// A count of a command that goes one way alone; `turned` is the one that goes the other way.
    fn count_one_way(&self, turned: &str) -> Result<i64, WrongLine> {
        match self.count()? {
            ..0 => self.wrong(format!("a count of 0 or more is expected here; `{turned}` goes the other way")),
            count => Ok(count),
        }
    }

    fn number(&self) -> Result<usize, WrongLine> {
        match self.optional(number, "a number")? {
            Some(number) => Ok(number),
            None => self.wrong("a number is expected here"),
        }
    }

    fn destination(&self) -> Result<Destination, WrongLine> {
        let what = "a place to go to (a round such as 120 or w0:17, a position such as 1:4096, a time such as \
                    2026-01-31T12:00:00Z, or +1.5s)";
        destination(self.rest()).map_or_else(|| self.wrong(refusal(self.rest(), destination, what)), Ok)
    }

    fn queue(&self) -> Result<Option<RawQueueId>, WrongLine> {
        self.optional(queue, "a queue's name, such as w0/7.1,")
    }

    fn expression(&self) -> Result<Expression, WrongLine> {
        if self.rest().is_empty() {
            return self.wrong("an expression is expected here; `help expressions` tells of them");
        }
        self.rest().parse().map_err(|wrong: WrongLine| wrong.behind(self.at))
    }
}

impl Command {
    /// What a line says, which isn't empty.
    pub(super) fn read(line: &str) -> Result<Command, WrongLine> {
        let start = line.len() - line.trim_start().len();
        let word = line[start..].split_whitespace().next().unwrap_or_default();
        let behind = start + word.len();
        let at = behind + (line[behind..].len() - line[behind..].trim_start().len());
        let words = Words { line, at };
        let known = COMMANDS.iter().find(|help| help.name == word || (help.short == word && !word.is_empty()));
        let Some(help) = known else {
            let names = COMMANDS.iter().map(|help| help.name);
            let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == word);
            let instead = elsewhere.map_or_else(|| instead(word, names), |(_, here)| format!("here that is `{here}`"));
            let what = format!("there is no command `{}`: {instead}", shortened(word));
            return Err(WrongLine { at: start, what });
        };
        Command::of(help.name, &words)
    }

    fn of(name: &str, words: &Words<'_>) -> Result<Command, WrongLine> {
        let text = || Some(words.rest().to_owned()).filter(|text| !text.is_empty());
        match name {
            "step" => words.count_one_way("back").map(|count| Command::Go(By::Step, count)),
            "back" => words.count_one_way("step").map(|count| Command::Go(By::Step, -count)),
            "turn" => words.count().map(|count| Command::Go(By::Turn, count)),
            "round" => words.count().map(|count| Command::Go(By::Round, count)),
            "goto" => words.destination().map(Command::Goto),
            "start" => words.none(Command::Start),
            "end" if words.rest().is_empty() => Ok(Command::End(None)),
            "end" => words.destination().map(|it| Command::End(Some(it))),
            "break" if words.rest().is_empty() => Ok(Command::Stops),
            "break" => Ok(Command::Break(words.expression()?, words.rest().to_owned())),
            "watch" => Command::watch(words),
            "delete" => words.optional(number, "a stop's number").map(Command::Delete),
            "run" => words.none(Command::Run),
            "reverse" => words.none(Command::Reverse),
            "find" => Ok(Command::Find(words.expression()?, true)),
            "rfind" => Ok(Command::Find(words.expression()?, false)),
            "why" => Ok(Command::Why(words.optional(number, "a number")?.unwrap_or(CAUSES_DEFAULT))),
            "node" => words.optional(node, "a node's number").map(Command::Node),
            "show" => words.none(Command::Show),
            "where" => words.none(Command::Where),
            "state" => words.queue().map(Command::State),
            "fsm" => words.queue().map(Command::Fsm),
            "queue" => words.queue().map(Command::Queue),
            "timers" => words.queue().map(Command::Timers),
            "fsms" => Ok(match (worker(words.rest()), text()) {
                (Some(of), _) => Command::Fsms(Some(of), None),
                (None, kind) => Command::Fsms(None, kind),
            }),
            "sent" => words.none(Command::Sent),
            "inputs" => words.none(Command::Inputs),
            "outputs" => words.none(Command::Outputs),
            "kinds" => Ok(Command::Kinds(text())),
            "json" => match words.rest() {
                "on" => Ok(Command::Json(true)),
                "off" => Ok(Command::Json(false)),
                _ => words.wrong("`on` or `off` is expected here"),
            },
            "chars" => words.number().map(Command::Chars),
            "lines" => words.number().map(Command::Lines),
            "help" => Ok(Command::Help(text())),
            _ => words.none(Command::Quit),
        }
    }

    fn watch(words: &Words<'_>) -> Result<Command, WrongLine> {
        let rest = words.rest();
        let name = rest.split_whitespace().next().unwrap_or_default();
        let Some(queue) = queue(name) else {
            return words.wrong(refusal(name, queue, "a queue's name, such as w0/7.1,"));
        };
        let field = rest[name.len()..].trim();
        Ok(Command::Watch(queue, Some(field.to_owned()).filter(|field| !field.is_empty()), rest.len() - field.len()))
    }
}

/// What `help` says: of all commands, of one, or of expressions.
pub(super) fn help(about: Option<&str>) -> Result<String, WrongLine> {
    let named = |name: &str| COMMANDS.iter().find(|help| help.name == name || help.short == name);
    match about {
        None => {
            let lines = COMMANDS
                .iter()
                .map(|help| format!("{:<8} {:<3} {:<16} {}", help.name, help.short, help.arguments, help.about));
            let lines: Vec<_> = lines.collect();
            Ok(format!("{}\nAn empty line does the last one again. `help break` has an example.", lines.join("\n")))
        }
        Some("expressions") => Ok(EXPRESSIONS.to_owned()),
        Some(name) => {
            let names = COMMANDS.iter().map(|help| help.name).chain(["expressions"]);
            let missing = || WrongLine { at: 0, what: format!("there is no such command: {}", instead(name, names)) };
            let Help { name, short, arguments, about, example } = named(name).ok_or_else(missing)?;
            let short = if short.is_empty() { String::new() } else { format!(", or {short}") };
            let more = if arguments.contains("EXPRESSION") { "\nexpressions: `help expressions`" } else { "" };
            Ok(format!("{name} {arguments}{short}\n{about}\nexample: {example}{more}"))
        }
    }
}

/// What can be asked of a step, for people; the module `expression` says the same of the library.
const EXPRESSIONS: &str = "\
kind == world               an FSM of that kind
queue == w0/7.1             that FSM; `sender ==` is who sent the message
worker == w1, round >= 100  that worker, its rounds from that one on
handler is start            a start handler; or handle, enter
came timer                  a message that came so: message, request, outcome, news, timer
ended panicked              or stayed, changed, postponed, unhandled, stopped, failed, skipped
message is Move             a message of that variant; also `data.gate is Open`
state is Open               the state after the step; `state was Open`: the one before
sent Move                   it asked to send a message of that variant
message.amount > 10         a field: == != < <= > >=
data.score < 0              a field of the FSM's data after the step; `old.score`: before it
changed data.score          the step changed that field; also `changed state`
not …, … and …, … or …, ( … )

A field is a path, such as data.players[3].scores[\"ada\"]; what a newtype holds is .0. It is held against an integer, a
float, a \"text\", true, false, none, a queue, or the name of a variant. What a step doesn't have is never so.";

/// How much of a word that is none is repeated.
fn shortened(word: &str) -> String {
    word.chars().take(40).flat_map(char::escape_debug).collect()
}

fn destination(text: &str) -> Option<Destination> {
    match text.parse() {
        Ok(RoundName::Ordinal(ordinal)) => return Some(Destination::Ordinal(ordinal)),
        Ok(RoundName::Of(of, round)) => return Some(Destination::Round(of, round)),
        Err(_) => {}
    }
    if let Ok(position) = text.parse() {
        return Some(Destination::Position(position));
    }
    match text.chars().next()? {
        '+' => duration(&text[1..]).map(Destination::After),
        '-' => duration(&text[1..]).map(Destination::Before),
        _ => text.parse().ok().map(|Instant(time)| Destination::Time(time)),
    }
}

/// A number with a unit of time.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| letter.is_alphabetic())?;
    let seconds = match &text[digits..] {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let is_plain = text[..digits].bytes().all(|digit| digit.is_ascii_digit() || digit == b'.');
    let number: f64 = text[..digits].parse().ok().filter(|_| is_plain)?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_go_to_are_told_apart() {
        assert_eq!(destination("12"), Some(Destination::Ordinal(12)));
        assert_eq!(destination("w1:12"), Some(Destination::Round(WorkerId(1), 12)));
        assert_eq!(destination("3:12"), Some(Destination::Position(Position { segment: 3, offset: 12 })));
        assert_eq!(destination("+1.5ms"), Some(Destination::After(Duration::from_micros(1500))));
        assert_eq!(destination("1970-01-01T00:00:01.5Z"), Some(Destination::Time(Time::from_nanos(1_500_000_000))));
        assert_eq!(destination("-2m"), Some(Destination::Before(Duration::from_secs(120))));
        for none in ["", "x", "w1:", "w:1", "+", "+5", "+-5s", "+1e400s", "w1:-3", "+s", "+."] {
            assert_eq!(destination(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_called_something_else_elsewhere_is_a_command_here() {
        let is_known = |name| COMMANDS.iter().any(|help| help.name == name || help.short == name);
        for (elsewhere, here) in ELSEWHERE {
            assert!(!is_known(elsewhere) && is_known(here), "{elsewhere} {here}");
        }
    }

    #[test]
    fn a_command_that_goes_one_way_alone_takes_no_count_below_zero() {
        for (line, instead) in [("step -1", "`back`"), ("s -3", "`back`"), ("back -1", "`step`"), ("b -2", "`step`")] {
            let wrong = Command::read(line).expect_err(line);
            assert!(wrong.what.contains(instead) && wrong.at == line.find('-').unwrap_or_default(), "{wrong:?}");
        }
        assert_eq!(Command::read("step 0").ok(), Some(Command::Go(By::Step, 0)));
        assert_eq!(Command::read("back 2").ok(), Some(Command::Go(By::Step, -2)));
        // The help of these says that they do.
        assert_eq!(Command::read("turn -1").ok(), Some(Command::Go(By::Turn, -1)));
        assert_eq!(Command::read("round -1").ok(), Some(Command::Go(By::Round, -1)));
    }

    #[test]
    fn each_command_is_read_by_each_of_its_names_and_its_example_is_right() {
        for help in COMMANDS {
            assert!(Command::read(help.example).is_ok(), "{}", help.example);
            assert!(help.example.starts_with(help.name));
            if !help.short.is_empty() {
                let short = help.example.replacen(help.name, help.short, 1);
                assert_eq!(Command::read(&short), Command::read(help.example), "{short}");
                assert_eq!(
                    COMMANDS.iter().filter(|other| other.name == help.short || other.short == help.short).count(),
                    1
                );
            }
        }
    }
}

//! What can be asked of a step: the expressions that stop a debugger, as a tree, and how they are spelt.
//!
//! | expression | holds for a step … |
//! | --- | --- |
//! | `kind == world`, `kind != "world"` | of an FSM of that kind |
//! | `queue == w0/7.1`, `sender == e8/3.1` | of that FSM; that handled a message from there |
//! | `worker == w1`, `round >= 100` | of that worker; of its rounds from that one on |
//! | `handler is start` | that is a start handler; else `handle` or `enter` |
//! | `came timer` | that handled what came so: `message`, `request`, `outcome`, `news`, `timer` |
//! | `ended panicked` | that ended so: `stayed`, `changed`, `postponed`, `unhandled`, `stopped`, `panicked`, `failed`, `skipped` |
//! | `message is Move`, `data.gate is Open` | where that variant of an enum is there |
//! | `state is Open`, `state was Opening` | after which, before which, the FSM is in that state |
//! | `sent Move` | that asked to send a message of that variant |
//! | `message.amount > 10` | where that field is so: `==`, `!=`, `<`, `<=`, `>`, `>=` |
//! | `data.score < 0`, `old.score < 0` | after which, before which, that field of the FSM's data is so |
//! | `changed state`, `changed data.score` | that changed it |
//! | `not …`, `… and …`, `… or …`, `( … )` | `not` binds closest, `or` loosest |
//!
//! A field is a [path](qnfsm::schema::Path), such as `data.players[3].scores["ada"]`; it leads through options, newtypes and variants
//! by itself, and what a newtype holds is `.0`. It is held against an integer of any width, a float, a text in quotes, `true`, `false`,
//! `none`, a queue's name or the name of a variant. What a step doesn't have is never so: `message.amount != 5` doesn't hold for a
//! message without an `amount`, and `not message.amount == 5` does.

use std::fmt;

use qnfsm::{
    RawQueueId, WorkerId,
    schema::{Path, PathPart},
};

/// An expression over a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// All of them hold. There are two at least, and none of them is one of these itself.
    And(Vec<Expression>),
    /// One of them holds. There are two at least, and none of them is one of these itself.
    Or(Vec<Expression>),
    /// It doesn't hold.
    Not(Box<Expression>),
    /// A single test.
    Test(Test),
}

/// A single test, and where it stands in the text that it was read from.
#[derive(Debug, Clone)]
pub struct Test {
    /// What is tested.
    pub check: Check,
    /// Where the name or the path that it is about begins, in bytes from the text's start.
    pub at: usize,
}

/// Where a test stands is no part of what it says.
impl PartialEq for Test {
    fn eq(&self, other: &Test) -> bool {
        self.check == other.check
    }
}

/// What is tested of a step.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the table in the module's head says it")]
pub enum Check {
    Kind { is: bool, name: String },
    Queue { is: bool, queue: RawQueueId },
    Sender { is: bool, queue: RawQueueId },
    Worker { is: bool, worker: WorkerId },
    Round { order: Order, round: u64 },
    Handler(HandlerIs),
    Came(CameIs),
    Ended(EndIs),
    Sent(String),
    Is { field: Field, name: String },
    Compare { field: Field, order: Order, literal: Literal },
    Changed(Field),
}

/// A field of what a step is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Of what.
    pub root: Root,
    /// The way from there.
    pub path: Path,
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// How it is spelt.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// What a field can be of.
    Root {
        /// The message that was handled.
        Message = "message",
        /// The FSM's data after the step.
        Data = "data",
        /// The FSM's data before the step.
        Old = "old",
        /// The FSM's state after the step.
        State = "state",
        /// The FSM's state before the step, which is asked for with `was`.
        StateBefore = "state (before)",
    }
}

words! {
    /// How a value is held against another.
    Order {
        /// Equal.
        Is = "==",
        /// There, and not equal.
        IsNot = "!=",
        /// At most.
        AtMost = "<=",
        /// At least.
        AtLeast = ">=",
        /// Less.
        Less = "<",
        /// More.
        More = ">",
    }
}

words! {
    /// Which handler ran.
    HandlerIs {
        /// The start handler.
        Start = "start",
        /// The handler of messages.
        Handle = "handle",
        /// An enter action.
        Enter = "enter",
    }
}

words! {
    /// As what a message came.
    CameIs {
        /// As a message, and nothing more.
        Message = "message",
        /// As a request.
        Request = "request",
        /// As what came of a request.
        Outcome = "outcome",
        /// As news of a queue.
        News = "news",
        /// As a timer's.
        Timer = "timer",
    }
}

words! {
    /// How a step ended.
    EndIs {
        /// In the state that it was in.
        Stayed = "stayed",
        /// In another state.
        Changed = "changed",
        /// With the message put off.
        Postponed = "postponed",
        /// With the message of no use.
        Unhandled = "unhandled",
        /// With the FSM's end.
        Stopped = "stopped",
        /// With a panic.
        Panicked = "panicked",
        /// With a panic or another fault.
        Failed = "failed",
        /// Without having been run.
        Skipped = "skipped",
    }
}

/// What a field is held against.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// An integer.
    Integer {
        /// It is below zero.
        is_negative: bool,
        /// Without its sign.
        magnitude: u128,
    },
    /// A float, which is a number.
    Float(f64),
    /// A text, or a character.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// An option without content.
    None,
    /// A queue's name.
    Queue(RawQueueId),
    /// The name of a variant.
    Name(String),
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |parts: &[Expression], word: &str, f: &mut fmt::Formatter<'_>| {
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    write!(f, " {word} ")?;
                }
                let is_looser = matches!((word, part), ("and", Expression::Or(_)));
                if is_looser { write!(f, "({part})")? } else { write!(f, "{part}")? }
            }
            Ok(())
        };
        match self {
            Expression::And(parts) => joined(parts, "and", f),
            Expression::Or(parts) => joined(parts, "or", f),
            Expression::Not(inner) => match **inner {
                Expression::And(_) | Expression::Or(_) => write!(f, "not ({inner})"),
                _ => write!(f, "not {inner}"),
            },
            Expression::Test(test) => test.check.fmt(f),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |is: &bool| if *is { "==" } else { "!=" };
        match self {
            Check::Kind { is, name } => write!(f, "kind {} {}", sign(is), Quoted(name)),
            Check::Queue { is, queue } => write!(f, "queue {} {queue}", sign(is)),
            Check::Sender { is, queue } => write!(f, "sender {} {queue}", sign(is)),
            Check::Worker { is, worker } => write!(f, "worker {} {worker}", sign(is)),
            Check::Round { order, round } => write!(f, "round {} {round}", order.word()),
            Check::Handler(handler) => write!(f, "handler is {}", handler.word()),
            Check::Came(came) => write!(f, "came {}", came.word()),
            Check::Ended(end) => write!(f, "ended {}", end.word()),
            Check::Sent(name) => write!(f, "sent {name}"),
            Check::Is { field: Field { root: Root::StateBefore, path }, name } => {
                write!(f, "{} was {name}", Field { root: Root::State, path: path.clone() })
            }
            Check::Is { field, name } => write!(f, "{field} is {name}"),
            Check::Compare { field, order, literal } => write!(f, "{field} {} {literal}", order.word()),
            Check::Changed(field) => write!(f, "changed {field}"),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if matches!(self.path.0.first(), Some(PathPart::Field(_))) { "." } else { "" };
        write!(f, "{}{dot}{}", self.root.word(), self.path)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Integer { is_negative, magnitude } => {
                write!(f, "{}{magnitude}", if *is_negative { "-" } else { "" })
            }
            Literal::Float(value) => write!(f, "{value:?}"),
            Literal::Text(text) => Quoted(text).fmt(f),
            Literal::Bool(value) => write!(f, "{value}"),
            Literal::None => f.write_str("none"),
            Literal::Queue(queue) => queue.fmt(f),
            Literal::Name(name) => f.write_str(name),
        }
    }
}

/// A text in quotes.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

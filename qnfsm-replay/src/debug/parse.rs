//! Reads expressions. What is wrong with a text is told with the place, and what may stand there.

use std::str::FromStr;

use qnfsm::{
    NodeId, RawQueueId, WorkerId,
    schema::Path,
    spelt::{TOO_LARGE, is_too_large, number},
};

use super::{
    WrongLine,
    expression::{CameIs, Check, EndIs, Expression, Field, HandlerIs, Literal, Order, Root, Test},
    nearest::instead,
};

/// How deep parentheses and `not` may nest.
const NESTING_MAX: usize = 64;

/// The words that a test can begin with.
pub(super) const STARTS: [&str; 15] = [
    "message", "data", "old", "state", "kind", "queue", "sender", "worker", "round", "handler", "came", "ended",
    "sent", "changed", "not",
];

impl FromStr for Expression {
    type Err = WrongLine;

    fn from_str(text: &str) -> Result<Expression, WrongLine> {
        let mut scanner = Scanner { text, at: 0, depth: 0 };
        let expression = scanner.or()?;
        match scanner.peek() {
            None => Ok(expression),
            Some(_) => Err(scanner.wrong("`and`, `or` or the end is expected here")),
        }
    }
}

impl Expression {
    /// All of them hold.
    #[must_use]
    pub fn all(parts: Vec<Expression>) -> Expression {
        let flat =
            parts.into_iter().flat_map(|part| if let Expression::And(inner) = part { inner } else { vec![part] });
        joined(flat.collect(), Expression::And)
    }

    /// One of them holds.
    #[must_use]
    pub fn any(parts: Vec<Expression>) -> Expression {
        let flat = parts.into_iter().flat_map(|part| if let Expression::Or(inner) = part { inner } else { vec![part] });
        joined(flat.collect(), Expression::Or)
    }
}

fn joined(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => join(parts),
    }
}

/// Reads the field with which a text begins, as far as it is one.
pub(super) fn field(text: &str) -> Result<Field, WrongLine> {
    let mut scanner = Scanner { text, at: 0, depth: 0 };
    let field = scanner.field()?;
    match scanner.peek() {
        None => Ok(field),
        Some(_) => Err(scanner.wrong("nothing more is expected here")),
    }
}

/// Reads a queue's name.
pub(super) fn queue(text: &str) -> Option<RawQueueId> {
    text.parse().ok()
}

/// Reads a worker's name.
pub(crate) fn worker(text: &str) -> Option<WorkerId> {
    number(text.strip_prefix('w')?).filter(|worker| *worker < 1 << 31).map(WorkerId)
}

/// Reads a node's number, with its letter or without.
pub(super) fn node(text: &str) -> Option<NodeId> {
    number(text.strip_prefix('n').unwrap_or(text)).map(NodeId)
}

/// Why a name can't be read: another form, or a number that is too large.
pub(super) fn refusal<T>(name: &str, read: impl Fn(&str) -> Option<T>, what: &str) -> String {
    match is_too_large(name, |smaller| read(smaller).is_some()) {
        true => format!("`{name}` {TOO_LARGE}"),
        false => format!("{what} is expected here"),
    }
}

/// Reads a text from its front.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Scanner<'t> {
    fn wrong(&self, what: impl Into<String>) -> WrongLine {
        WrongLine { at: self.at, what: what.into() }
    }

    /// Says why a name can't be read.
    fn refused<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>, what: &str) -> WrongLine {
        self.wrong(refusal(name, read, what))
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// The next letter, behind spaces.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.rest().chars().next()
    }

    /// What comes up to a letter that isn't one of those.
    fn run(&mut self, is_of_it: fn(char) -> bool) -> &'t str {
        self.peek();
        let rest = self.rest();
        &rest[..rest.find(|letter: char| !is_of_it(letter)).unwrap_or(rest.len())]
    }

    /// The word that comes; empty, if none does.
    fn word(&mut self) -> &'t str {
        self.run(|letter| letter.is_alphanumeric() || letter == '_')
    }

    fn eat_word(&mut self, word: &str) -> bool {
        self.word() == word && self.eat(word)
    }

    fn eat(&mut self, sign: &str) -> bool {
        self.peek();
        let is_it = self.rest().starts_with(sign);
        self.at += if is_it { sign.len() } else { 0 };
        is_it
    }

    fn or(&mut self) -> Result<Expression, WrongLine> {
        let mut parts = vec![self.and()?];
        while self.eat_word("or") {
            parts.push(self.and()?);
        }
        Ok(Expression::any(parts))
    }

    fn and(&mut self) -> Result<Expression, WrongLine> {
        let mut parts = vec![self.not()?];
        while self.eat_word("and") {
            parts.push(self.not()?);
        }
        Ok(Expression::all(parts))
    }

    fn not(&mut self) -> Result<Expression, WrongLine> {
        if self.depth == NESTING_MAX {
            return Err(self.wrong(format!("it nests deeper than {NESTING_MAX}")));
        }
        self.depth += 1;
        let expression = if self.eat_word("not") {
            Expression::Not(Box::new(self.not()?))
        } else if self.eat("(") {
            let inner = self.or()?;
            if !self.eat(")") {
                return Err(self.wrong("`)`, `and` or `or` is expected here"));
            }
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn test(&mut self) -> Result<Expression, WrongLine> {
        let word = self.word();
        let mut at = self.at;
        let check = match word {
            "message" | "data" | "old" | "state" => self.field_test()?,
            "kind" => {
                let is = self.behind(word)?.equality()?;
                self.peek();
                at = self.at;
                Check::Kind { is, name: self.name("a kind's name")? }
            }
            "queue" => Check::Queue { is: self.behind(word)?.equality()?, queue: self.queue()? },
            "sender" => Check::Sender { is: self.behind(word)?.equality()?, queue: self.queue()? },
            "worker" => {
                let is = self.behind(word)?.equality()?;
                let name = self.word();
                let worker = worker(name).ok_or_else(|| self.refused(name, worker, "a worker's name, such as w0,"))?;
                self.at += name.len();
                Check::Worker { is, worker }
            }
            "round" => {
                let order = self.behind(word)?.order()?;
                let digits = self.word();
                let round = number(digits).ok_or_else(|| self.refused(digits, number::<u64>, "a round's number"))?;
                self.at += digits.len();
                Check::Round { order, round }
            }
            "handler" => {
                if !self.behind(word)?.eat_word("is") && !self.eat("==") {
                    return Err(self.wrong("`is` is expected here"));
                }
                Check::Handler(self.one_of(HandlerIs::ALL, HandlerIs::word)?)
            }
            "came" => Check::Came(self.behind(word)?.one_of(CameIs::ALL, CameIs::word)?),
            "ended" => Check::Ended(self.behind(word)?.one_of(EndIs::ALL, EndIs::word)?),
            "sent" => {
                self.behind(word)?.peek();
                at = self.at;
                Check::Sent(self.name("the name of a message's variant")?)
            }
            "changed" => {
                self.behind(word)?.peek();
                at = self.at;
                Check::Changed(self.field()?)
            }
            other => return Err(self.wrong(format!("a test is expected here; {}", instead(other, STARTS)))),
        };
        Ok(Expression::Test(Test { check, at }))
    }

    /// Behind a word that was looked at.
    fn behind(&mut self, word: &str) -> Result<&mut Self, WrongLine> {
        self.at += word.len();
        match self.peek() {
            Some(_) => Ok(self),
            None => Err(self.wrong(format!("the expression ends behind `{word}`"))),
        }
    }

    fn field(&mut self) -> Result<Field, WrongLine> {
        let word = self.word();
        let roots = [Root::Message, Root::Data, Root::Old, Root::State];
        let root = self.one_of(&roots, Root::word)?;
        debug_assert_eq!(root.word(), word, "it was just read");
        let path = if self.rest().starts_with(['.', '[']) {
            let path = Path::front(self.rest());
            let (path, len) =
                path.map_err(|error| WrongLine { at: self.at + error.at, what: error.what.to_owned() })?;
            self.at += len;
            path
        } else {
            Path::default()
        };
        Ok(Field { root, path })
    }

    /// A test that begins with a field.
    fn field_test(&mut self) -> Result<Check, WrongLine> {
        let field = self.field()?;
        if self.eat_word("is") {
            return Ok(Check::Is { field, name: self.name("the name of a variant")? });
        }
        if self.eat_word("was") {
            let root = match field.root {
                Root::State => Root::StateBefore,
                _ => return Err(self.wrong("`was` is said of the state; the data before the step are `old`")),
            };
            return Ok(Check::Is { field: Field { root, ..field }, name: self.name("the name of a state")? });
        }
        let order = self.order()?;
        Ok(Check::Compare { field, order, literal: self.literal()? })
    }

    fn order(&mut self) -> Result<Order, WrongLine> {
        let found = Order::ALL.iter().find(|order| self.eat(order.word()));
        found.copied().ok_or_else(|| self.wrong("`is`, `==`, `!=`, `<`, `<=`, `>` or `>=` is expected here"))
    }

    fn equality(&mut self) -> Result<bool, WrongLine> {
        if self.eat("==") || self.eat_word("is") {
            return Ok(true);
        }
        if self.eat("!=") { Ok(false) } else { Err(self.wrong("`==` or `!=` is expected here")) }
    }

    fn one_of<T: Copy>(&mut self, all: &[T], word_of: fn(T) -> &'static str) -> Result<T, WrongLine> {
        let word = self.word();
        match all.iter().find(|it| word_of(**it) == word) {
            Some(found) => {
                self.at += word.len();
                Ok(*found)
            }
            None => {
                Err(self
                    .wrong(format!("`{word}` is none of these: {}", instead(word, all.iter().map(|it| word_of(*it))))))
            }
        }
    }

    /// A name, which may stand in quotes.
    fn name(&mut self, what: &str) -> Result<String, WrongLine> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let name = self.run(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':'));
        if name.is_empty() {
            return Err(self.wrong(format!("{what} is expected here")));
        }
        self.at += name.len();
        Ok(name.to_owned())
    }

    fn quoted(&mut self) -> Result<String, WrongLine> {
        let (mut text, mut escaped) = (String::new(), false);
        for (at, letter) in self.rest().char_indices().skip(1) {
            match letter {
                _ if escaped => {
                    text.push(letter);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    self.at += at + 1;
                    return Ok(text);
                }
                _ => text.push(letter),
            }
        }
        Err(self.wrong("the closing quote of this text is missing"))
    }

    fn queue(&mut self) -> Result<RawQueueId, WrongLine> {
        let name = self.run(is_of_queue);
        let queue = queue(name).ok_or_else(|| self.refused(name, queue, "a queue's name, such as w0/7.1,"))?;
        self.at += name.len();
        Ok(queue)
    }

    fn literal(&mut self) -> Result<Literal, WrongLine> {
        let first = self.peek();
        if first == Some('"') {
            return self.quoted().map(Literal::Text);
        }
        if first.is_some_and(|letter| letter.is_ascii_digit() || matches!(letter, '-' | '+')) {
            return self.number();
        }
        let name = self.run(is_of_queue);
        if name.contains('/') {
            return self.queue().map(Literal::Queue);
        }
        let literal = match name {
            "" => {
                return Err(
                    self.wrong("a number, a text in quotes, true, false, none, a queue or a variant is expected here")
                );
            }
            "true" => Literal::Bool(true),
            "false" => Literal::Bool(false),
            "none" => Literal::None,
            name => Literal::Name(name.to_owned()),
        };
        self.at += name.len();
        Ok(literal)
    }

    fn number(&mut self) -> Result<Literal, WrongLine> {
        let text = self.run(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '+' | '_'));
        let digits = text.replace('_', "");
        let (is_negative, magnitude) = match digits.strip_prefix(['-', '+']) {
            Some(magnitude) => (digits.starts_with('-'), magnitude),
            None => (false, digits.as_str()),
        };
        let float = || digits.parse().ok().filter(|value: &f64| value.is_finite()).map(Literal::Float);
        let integer = number(magnitude).map(|magnitude| Literal::Integer { is_negative, magnitude });
        let is_whole = magnitude.bytes().all(|digit| digit.is_ascii_digit());
        let literal = if is_whole { integer } else { float() };
        let literal = literal.ok_or_else(|| self.wrong(format!("`{text}` is no number of at most 128 bits")))?;
        self.at += text.len();
        Ok(literal)
    }
}

fn is_of_queue(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '/' | '.' | ':')
}

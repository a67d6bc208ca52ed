//! The way to a part of a value, such as `players[3].name`, and whoever follows it over encoded bytes.
//!
//! A way leads through options, newtypes and variants without a word for them, because what a person means is the field
//! within. It is followed by the one [`walk`](super::walk), which ends as soon as it is there.

use std::{fmt, str::FromStr};

use serde::de::Error;

use super::{
    content::{Builder, Content, Fields},
    walk::{Atom, Container, Output, Parts},
};

/// The way to a part of a value. The empty way is that to the value itself.
///
/// ```
/// use qnfsm::{Codec, schema::{Content, Path, Printer, Schema}};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Player { name: String, at: Option<(i8, i8)> }
///
/// let printer = Printer::new(Schema::of::<Vec<Player>>(&[])?.json());
/// let mut bytes = Vec::new();
/// Codec::CURRENT.encode(&vec![Player { name: "ada".into(), at: Some((3, -4)) }], &mut bytes)?;
/// let path: Path = "[0].at.1".parse()?;
/// assert_eq!(printer.part(&bytes, &path)?, Some(Content::Signed(-4)));
/// assert_eq!(path.to_string(), "[0].at.1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<PathPart>);

/// One part of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPart {
    /// A field, or what a tuple has in a place: `.name`, `.0`. The only value of a newtype may be left out, or is `.0`.
    Field(String),
    /// What a list has in a place, or a map under a number, which may be a newtype's: `[3]`.
    Index(u64),
    /// What a map has under a key: `["ada"]`. A key that is no text is written as it is shown. Of a newtype what it holds is enough: `[3]` for
    /// `PlayerId(3)`.
    Key(String),
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; a path is made of fields and places, such as players[3].name or scores[\"ada\"]")]
pub struct PathError {
    /// Where in the text, in bytes from its start.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// How many parts a path may have; values don't nest deeper.
const PARTS_MAX: usize = 4 * crate::codec::NESTING_MAX as usize;

impl Path {
    /// Reads the path with which a text begins, and says how many bytes it takes. Without a path there, it is the empty one.
    ///
    /// # Errors
    /// When a part is begun and not ended.
    pub fn front(text: &str) -> Result<(Path, usize), PathError> {
        let mut parts = Vec::new();
        let mut at = 0;
        let wrong = |at, what| Err(PathError { at, what });
        loop {
            let rest = &text[at..];
            let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
            let name_of = |rest: &str| rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
            match rest.chars().next() {
                _ if parts.len() >= PARTS_MAX => return wrong(at, "the path has too many parts"),
                Some('.') => {
                    let len = name_of(&rest[1..]);
                    if len == 0 {
                        return wrong(at + 1, "a field's name is missing behind the dot");
                    }
                    parts.push(PathPart::Field(rest[1..=len].to_owned()));
                    at += 1 + len;
                }
                Some('[') => {
                    let (part, len) = bracket(rest).map_err(|what| PathError { at, what })?;
                    parts.push(part);
                    at += len;
                }
                Some(letter) if parts.is_empty() && is_name(letter) => {
                    let len = name_of(rest);
                    parts.push(PathPart::Field(rest[..len].to_owned()));
                    at += len;
                }
                _ => return Ok((Path(parts), at)),
            }
        }
    }

    /// The path to a part of what this one leads to.
    #[must_use]
    pub fn to(&self, part: PathPart) -> Path {
        Path(self.0.iter().cloned().chain([part]).collect())
    }
}

/// The part in brackets with which a text begins, and how long it is.
fn bracket(text: &str) -> Result<(PathPart, usize), &'static str> {
    let inside = &text[1..];
    if let Some(quoted) = inside.strip_prefix('"') {
        let (mut key, mut escaped) = (String::new(), false);
        for (at, letter) in quoted.char_indices() {
            match letter {
                _ if escaped => {
                    key.push(letter);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' if quoted[at + 1..].starts_with(']') => return Ok((PathPart::Key(key), at + 4)),
                '"' => return Err("`]` is missing behind the key"),
                _ => key.push(letter),
            }
        }
        return Err("the key's closing quote is missing");
    }
    let end = inside.find(']').ok_or("the closing `]` is missing")?;
    let is_number = inside[..end].bytes().all(|digit| digit.is_ascii_digit());
    let number = is_number.then(|| inside[..end].parse().ok()).flatten();
    number.map(|number| (PathPart::Index(number), end + 2)).ok_or("in brackets stands a number, or a key in quotes")
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Path, PathError> {
        let (path, len) = Path::front(text)?;
        if len == text.len() { Ok(path) } else { Err(PathError { at: len, what: "no part of a path begins here" }) }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            match part {
                PathPart::Field(name) if at == 0 => f.write_str(name)?,
                PathPart::Field(name) => write!(f, ".{name}")?,
                PathPart::Index(index) => write!(f, "[{index}]")?,
                PathPart::Key(key) => write!(f, "[\"{}\"]", key.replace('\\', "\\\\").replace('"', "\\\""))?,
            }
        }
        Ok(())
    }
}

/// True if a part of a path names the one in that place of a list.
fn is_place(part: &PathPart, at: usize) -> bool {
    match part {
        PathPart::Index(index) => usize::try_from(*index) == Ok(at),
        PathPart::Field(name) => name.parse() == Ok(at),
        PathPart::Key(_) => false,
    }
}

/// True if a part of a path names what a map has under that key: spelt as it is shown, or by what is within its newtype.
fn is_key(part: &PathPart, key: &Content) -> bool {
    let within = |key: &Content| matches!(key, Content::Struct(_, Fields::One(inner)) if is_key(part, inner));
    is_spelt(part, key) || within(key)
}

fn is_spelt(part: &PathPart, key: &Content) -> bool {
    match (part, key) {
        (PathPart::Key(wanted), Content::Text(text)) => wanted == text,
        (PathPart::Index(wanted), Content::Unsigned(number)) => u128::from(*wanted) == *number,
        (PathPart::Index(wanted), Content::Signed(number)) => i128::from(*wanted) == *number,
        (PathPart::Key(wanted), key) => key.text(wanted.len() + 1) == *wanted,
        _ => false,
    }
}

/// True if a part of a path is what is within a newtype or a newtype's variant, spelt out.
pub(super) fn is_only_one(part: Option<&PathPart>) -> bool {
    part.is_some_and(|part| matches!(part, PathPart::Field(name) if name == "0"))
}

/// What is to be done with the value that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Skip,
    /// So many parts of the path lead there.
    Follow(usize),
    /// It is the key of a map's entry, to be held against that part of the path.
    Key(usize),
}

/// Follows a path, and takes what is there.
pub(super) struct Follower<'p> {
    path: &'p [PathPart],
    /// Of an enum, its variant's name is all that is wanted.
    name_alone: bool,
    /// For each container that is open, how much of the path leads to it; none, if it is passed over.
    open: Vec<Option<usize>>,
    next: Next,
    /// Takes what is wanted, or a key, while so many containers of it are open.
    taking: Option<(Builder, usize)>,
    pub(super) found: Option<Content>,
    /// It was there, or it is known that it isn't.
    pub(super) is_done: bool,
}

impl<'p> Follower<'p> {
    pub(super) fn new(path: &'p Path, name_alone: bool) -> Follower<'p> {
        let next = Next::Follow(0);
        Follower { path: &path.0, name_alone, open: Vec::new(), next, taking: None, found: None, is_done: false }
    }

    /// Ends the walk.
    fn done<E: Error>(&mut self, found: Option<Content>) -> Result<(), E> {
        (self.found, self.is_done) = (found, true);
        Err(E::custom("no more is wanted"))
    }

    /// A value that was wanted is whole.
    fn taken<E: Error>(&mut self, content: Content) -> Result<(), E> {
        match self.next {
            Next::Key(part) => {
                let is_it = self.path.get(part).is_some_and(|wanted| is_key(wanted, &content));
                self.next = if is_it { Next::Follow(part + 1) } else { Next::Skip };
                Ok(())
            }
            _ => self.done(Some(content)),
        }
    }

    /// Hands on to who takes, if somebody does.
    fn hand_on<E: Error>(
        &mut self,
        depth: impl Fn(usize) -> usize,
        tell: impl FnOnce(&mut Builder) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some((builder, open)) = &mut self.taking else { return Ok(false) };
        tell(builder)?;
        *open = depth(*open);
        if *open == 0
            && let Some(content) = builder.take()
        {
            self.taking = None;
            self.taken(content)?;
        }
        Ok(true)
    }

    /// True if the value that comes is to be taken as a whole.
    fn is_wanted(&self) -> bool {
        matches!(self.next, Next::Key(_)) || self.next == Next::Follow(self.path.len())
    }
}

impl Output for Follower<'_> {
    fn atom<E: Error>(&mut self, atom: Atom<'_>) -> Result<(), E> {
        if self.hand_on(|open| open, |builder| builder.atom(atom))? {
            return Ok(());
        }
        if self.is_wanted() {
            self.taking = Some((Builder::new(), 0));
            return self.hand_on(|open| open, |builder| builder.atom(atom)).map(|_| ());
        }
        // A way that leads into what has no parts leads nowhere.
        if self.next == Next::Skip { Ok(()) } else { self.done(None) }
    }

    fn open<E: Error>(&mut self, what: Container<'_>) -> Result<(), E> {
        if self.hand_on(|open| open + 1, |builder| builder.open(what))? {
            return Ok(());
        }
        if self.is_wanted() {
            if let (true, Container::Variant(name, _)) = (self.name_alone, what) {
                return self.done(Some(Content::Variant(name.to_owned(), Fields::None)));
            }
            let is_within = matches!(what, Container::Some | Container::Struct(_, Parts::One));
            if !(self.name_alone && is_within && self.next == Next::Follow(self.path.len())) {
                self.taking = Some((Builder::new(), 0));
                return self.hand_on(|open| open + 1, |builder| builder.open(what)).map(|_| ());
            }
        }
        let Next::Follow(parts) = self.next else {
            self.open.push(None);
            return Ok(());
        };
        self.open.push(Some(parts));
        let spelt = match what {
            Container::Some => Some(0),
            Container::Struct(_, Parts::One) | Container::Variant(_, Parts::One) => {
                Some(usize::from(is_only_one(self.path.get(parts))))
            }
            _ => None,
        };
        self.next = spelt.map_or(Next::Skip, |spelt| Next::Follow(parts + spelt));
        Ok(())
    }

    fn part<E: Error>(&mut self, of: Container<'_>, at: usize, name: Option<&str>) -> Result<(), E> {
        if self.hand_on(|open| open, |builder| builder.part(of, at, name))? {
            return Ok(());
        }
        let followed = self.open.last().copied().flatten();
        self.next = match followed.and_then(|parts| Some((parts, self.path.get(parts)?))) {
            None => Next::Skip,
            Some((parts, _)) if matches!(of, Container::Map { .. }) => Next::Key(parts),
            Some((parts, PathPart::Field(wanted))) if name.is_some_and(|name| name == wanted) => {
                Next::Follow(parts + 1)
            }
            Some((parts, wanted)) if name.is_none() && is_place(wanted, at) => Next::Follow(parts + 1),
            Some(_) => Next::Skip,
        };
        Ok(())
    }

    fn entry_value<E: Error>(&mut self, of: Container<'_>) -> Result<(), E> {
        self.hand_on(|open| open, |builder| builder.entry_value(of)).map(|_| ())
    }

    fn entry_end<E: Error>(&mut self, of: Container<'_>) -> Result<(), E> {
        self.hand_on(|open| open, |builder| builder.entry_end(of)).map(|_| ())
    }

    fn close<E: Error>(&mut self, what: Container<'_>) -> Result<(), E> {
        if self.hand_on(|open| open - 1, |builder| builder.close(what))? {
            return Ok(());
        }
        // What the way leads through has ended, and what it leads to didn't come.
        if self.open.pop().flatten().is_some() { self.done(None) } else { Ok(()) }
    }
}

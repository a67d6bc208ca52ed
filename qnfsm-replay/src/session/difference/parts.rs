//! What differs between two values of a type, part by part. Lists and maps that have the same in another order are one part: that is what a hash
//! map's order looks like.

use std::collections::BTreeMap;

use qnfsm::{
    Table, TableSchema,
    schema::{Content, Fields, Path, PathPart},
};

/// The most parts of a value that are shown.
const PARTS_MAX: usize = 20;

/// Of how many elements it is looked whether they are the same in another order.
const REORDERED_MAX: usize = 1000;

/// How much of a key stands in a path, in characters.
const KEY_CHARS_MAX: usize = 200;

/// A part that differs, and both values of it.
pub(super) type Differing = (Path, [Option<Content>; 2]);

/// What differs between values that were held against each other before: where FSMs pass on what isn't alike, the same comes again and again.
#[derive(Default)]
pub(super) struct Memo {
    known: BTreeMap<Vec<u8>, Vec<Differing>>,
    bytes: usize,
}

/// Whose values they are: the number of a kind or of a type of messages.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    Message(u32),
    State(u32),
    Data(u32),
}

/// How many bytes of values are remembered at most.
const MEMO_BYTES_MAX: usize = 4 << 20;

impl Memo {
    /// As [`parts`] of values of that type.
    pub(super) fn parts(&mut self, table: &Table, of: Of, first: &[u8], second: &[u8]) -> Vec<Differing> {
        if first == second {
            return Vec::new();
        }
        let (tag, number, schema) = match of {
            Of::Message(number) => (0, number, table.messages.get(number as usize).map(|message| &message.schema)),
            Of::State(number) => (1, number, table.kinds.get(number as usize).map(|kind| &kind.state)),
            Of::Data(number) => (2, number, table.kinds.get(number as usize).map(|kind| &kind.value)),
        };
        let head = (u64::from(number) << 8 | tag).to_le_bytes();
        let key = [&head[..], &(first.len() as u64).to_le_bytes(), first, second].concat();
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let differing = parts(schema, first, second);
        self.bytes += key.len();
        if self.bytes > MEMO_BYTES_MAX {
            (self.known, self.bytes) = (BTreeMap::new(), key.len());
        }
        self.known.insert(key, differing.clone());
        differing
    }
}

/// The parts that differ; the whole, where they can't be told.
pub(crate) fn parts(schema: Option<&TableSchema>, first: &[u8], second: &[u8]) -> Vec<Differing> {
    if first == second {
        return Vec::new();
    }
    let mut all = Vec::new();
    if let Some(printer) = schema.map(TableSchema::printer) {
        if let (Ok(first), Ok(second)) = (printer.content(first), printer.content(second)) {
            reordered(&mut Vec::new(), [&first, &second], &mut all);
        }
        let changes = printer.changes(first, second, PARTS_MAX).map(|changes| changes.parts).unwrap_or_default();
        let is_told = |path: &Path| all.iter().any(|(of, _): &(Path, _)| path.0.starts_with(&of.0));
        let others: Vec<_> = changes.into_iter().filter(|change| !is_told(&change.path)).collect();
        all.extend(others.into_iter().map(|change| (change.path, [change.before, change.after])));
    }
    if all.is_empty() {
        all.push((Path::default(), [None, None]));
    }
    all
}

/// The lists and maps that have the same elements in another order.
fn reordered(path: &mut Vec<PathPart>, [one, other]: [&Content; 2], all: &mut Vec<Differing>) {
    let is_reordered = match (one, other) {
        (Content::Seq(one), Content::Seq(other)) => one != other && is_permutation(one, other),
        (Content::Map(one), Content::Map(other)) => one != other && is_permutation(one, other),
        _ => false,
    };
    if is_reordered {
        all.push((Path(path.clone()), [Some(one.clone()), Some(other.clone())]));
        return;
    }
    let mut within = |part: Option<PathPart>, pair| {
        let depth = path.len();
        path.extend(part);
        reordered(path, pair, all);
        path.truncate(depth);
    };
    match (one, other) {
        (Content::Seq(one), Content::Seq(other)) => {
            (0..)
                .zip(one.iter().zip(other))
                .for_each(|(at, (one, other))| within(Some(PathPart::Index(at)), [one, other]));
        }
        (Content::Tuple(one), Content::Tuple(other)) => {
            one.iter().zip(other).enumerate().for_each(|(at, (one, other))| within(Some(place(at)), [one, other]));
        }
        (Content::Option(Some(one)), Content::Option(Some(other))) => within(None, [one, other]),
        (Content::Map(one), Content::Map(other)) if one.len().max(other.len()) <= REORDERED_MAX => {
            for (key, value) in one {
                if let Some((_, other)) = other.iter().find(|(of, _)| of == key) {
                    within(Some(key_part(key)), [value, other]);
                }
            }
        }
        (Content::Struct(name, one), Content::Struct(of, other))
        | (Content::Variant(name, one), Content::Variant(of, other))
            if name == of =>
        {
            match (one, other) {
                (Fields::One(one), Fields::One(other)) => within(None, [one, other]),
                (Fields::Listed(one), Fields::Listed(other)) => {
                    one.iter()
                        .zip(other)
                        .enumerate()
                        .for_each(|(at, (one, other))| within(Some(place(at)), [one, other]));
                }
                (Fields::Named(one), Fields::Named(other)) => {
                    let pairs = one.iter().zip(other);
                    pairs.for_each(|((name, one), (_, other))| {
                        within(Some(PathPart::Field(name.clone())), [one, other]);
                    });
                }
                _ => {}
            }
        }
        _ => {}
    }
}

fn place(at: usize) -> PathPart {
    PathPart::Field(at.to_string())
}

fn key_part(key: &Content) -> PathPart {
    match key {
        Content::Text(text) => PathPart::Key(text.clone()),
        other => PathPart::Key(other.text(KEY_CHARS_MAX)),
    }
}

/// True if both have the same elements, in whichever order; of many it isn't looked.
pub(super) fn is_permutation<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    let mut left: Vec<_> = other.iter().collect();
    one.len() == other.len()
        && one.len() <= REORDERED_MAX
        && one.iter().all(|element| {
            let at = left.iter().position(|other| element == *other);
            at.map(|at| left.swap_remove(at)).is_some()
        })
}

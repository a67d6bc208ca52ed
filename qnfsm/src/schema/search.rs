//! Which variants the explorer takes, pass for pass, and what it learns from how a pass ends.
//!
//! Every failed pass marks a variant as one that can't be made or leads round, or a container as one to leave empty, so
//! that no pass is made twice and the search ends. Nothing here answers a type's requests; the explorer does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::de;
use serde_reflection::{Samples, Value};

use super::error::Misfit;

/// How the values of one exploration look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    /// Options, sequences and maps have something in them down to this many levels of them, and nothing below.
    pub(super) full_levels: u32,
    /// Numbers are 1, booleans true and strings not empty; else 0, false and empty.
    pub(super) truthy: bool,
    /// Which named types are taken from the samples where there is one.
    pub(super) inject: Inject,
}

/// What is taken from the user's samples instead of being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inject {
    /// Nothing.
    Nothing,
    /// Newtype structs, which are what usually validates.
    Newtypes,
    /// All structs.
    Structs,
}

/// Proof that no value of the type can be decoded, and where.
#[derive(Debug)]
pub(super) struct Impossible {
    pub(super) of: Option<&'static str>,
    pub(super) field: Option<&'static str>,
    pub(super) misfit: Misfit,
}

/// The fields and variants that types asked for, by the type's serde name, and whether one was a secret.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) fields: BTreeMap<&'static str, &'static [&'static str]>,
    pub(super) variants: BTreeMap<&'static str, &'static [&'static str]>,
    /// One of them was a secret.
    pub(super) secret: bool,
}

/// The end of a pass, with the text that serde or the type gave.
#[derive(Debug)]
pub(super) struct Halt(pub(super) String);

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Halt {}

impl de::Error for Halt {
    fn custom<M: fmt::Display>(message: M) -> Halt {
        Halt(message.to_string())
    }
}

/// Why the explorer itself ended a pass.
pub(super) enum Fault {
    /// An enum came round to itself and no variant that ends is known.
    Round,
    /// The variant's number is past the last.
    NoVariant,
    Impossible(Impossible),
}

/// What is known of one enum type.
#[derive(Default)]
struct Variants {
    /// How many numbers are tried; serde's list counts aliases, so there may be fewer variants.
    count: u32,
    /// Those that stand in a value or can't be made.
    seen: BTreeSet<u32>,
    /// Those that led back to the enum itself.
    blocked: BTreeSet<u32>,
    /// One that ends.
    base: Option<u32>,
    active: bool,
    /// The enums that were met within a variant.
    within: BTreeMap<u32, BTreeSet<&'static str>>,
}

pub(super) struct Search<'a> {
    pub(super) mode: Mode,
    samples: &'a Samples,
    pub(super) asked: &'a mut Asked,
    enums: BTreeMap<&'static str, Variants>,
    /// Options, sequences and maps that the pass is within.
    pub(super) open: Vec<&'static str>,
    /// Options, sequences and maps that are left empty until a variant that ends is known.
    left_empty: BTreeSet<&'static str>,
    /// A variant that ends was found, so that the next pass sees more even if it takes no new variant.
    reopened: bool,
    /// Enums and their variants that the pass is within.
    enums_open: Vec<(&'static str, u32)>,
    /// Variants that this pass took.
    taken: Vec<(&'static str, u32)>,
    /// The structs that the pass is within, with the field that is being read.
    pub(super) place: Vec<(&'static str, Option<&'static str>)>,
    pub(super) depth: u32,
    pub(super) fault: Option<Fault>,
    /// A variant was marked as the reason why this pass failed, so that the next one is another.
    pub(super) blamed: bool,
    /// What a type said when it refused a value within the blamed variant.
    pub(super) refusal: Option<String>,
}

impl<'a> Search<'a> {
    pub(super) fn new(mode: Mode, samples: &'a Samples, asked: &'a mut Asked) -> Search<'a> {
        Search {
            mode,
            samples,
            asked,
            enums: BTreeMap::new(),
            open: Vec::new(),
            left_empty: BTreeSet::new(),
            reopened: false,
            enums_open: Vec::new(),
            taken: Vec::new(),
            place: Vec::new(),
            depth: 0,
            fault: None,
            blamed: false,
            refusal: None,
        }
    }

    pub(super) fn start_pass(&mut self) {
        self.open.clear();
        self.enums_open.clear();
        self.taken.clear();
        self.place.clear();
        self.depth = 0;
        self.fault = None;
        self.blamed = false;
        self.refusal = None;
        for variants in self.enums.values_mut() {
            variants.active = false;
        }
    }

    /// Marks what the pass took as seen; false if all of it was and another pass would be the same.
    pub(super) fn commit(&mut self) -> bool {
        let mut progress = std::mem::take(&mut self.reopened);
        for (key, variant) in std::mem::take(&mut self.taken) {
            progress |= self.enums.entry(key).or_default().seen.insert(variant);
        }
        progress
    }

    pub(super) fn impossible(&mut self, misfit: Misfit) -> Halt {
        let (of, field) = self.place.last().map_or((None, None), |&(of, field)| (Some(of), field));
        self.fault.get_or_insert(Fault::Impossible(Impossible { of, field, misfit }));
        Halt("the type asks the bytes what they are".to_string())
    }

    pub(super) fn round(&mut self) -> Halt {
        self.fault.get_or_insert(Fault::Round);
        Halt("the type has no value that ends".to_string())
    }

    /// True if an option, sequence or map of this type is to have something in it.
    pub(super) fn fills(&self, key: &'static str) -> bool {
        let levels = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        levels < self.mode.full_levels && !self.open.contains(&key) && !self.left_empty.contains(key)
    }

    fn has_unseen(&self, key: &str) -> bool {
        self.enums.get(key).is_some_and(|it| (0..it.count).any(|variant| !it.seen.contains(&variant)))
    }

    /// The variant to take of an enum, or nothing if each leads back to it.
    fn choose(&self, variants: &Variants) -> Option<u32> {
        if variants.active {
            return variants.base;
        }
        let open = |variant: &u32| !variants.blocked.contains(variant);
        let unseen = (0..variants.count).filter(open).find(|variant| !variants.seen.contains(variant));
        let unfinished = || {
            let mut within = variants.within.iter();
            within.find(|(_, keys)| keys.iter().any(|key| self.has_unseen(key))).map(|(&variant, _)| variant)
        };
        unseen.or_else(unfinished).or(variants.base)
    }

    pub(super) fn sample(&self, name: &'static str, at_least: Inject) -> Option<&'a Value> {
        let wanted = match self.mode.inject {
            Inject::Nothing => false,
            Inject::Newtypes => at_least == Inject::Newtypes,
            Inject::Structs => true,
        };
        if wanted { self.samples.value(name) } else { None }
    }
}

/// An enum that is being read.
pub(super) struct Choice {
    key: &'static str,
    pub(super) variant: u32,
    within_itself: bool,
}

impl Search<'_> {
    /// Takes a variant of an enum.
    pub(super) fn enter_enum(&mut self, key: &'static str, name: &'static str, count: usize) -> Result<Choice, Halt> {
        // A variant that holds an enum which has more to show is taken again.
        for &(outer, variant) in &self.enums_open {
            self.enums.entry(outer).or_default().within.entry(variant).or_default().insert(key);
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let known = self.enums.entry(key).or_insert_with(|| Variants { count, ..Variants::default() });
        let within_itself = known.active;
        let Some(variant) = self.choose(&self.enums[key]) else {
            return Err(self.round());
        };
        self.enums.entry(key).or_default().active = true;
        self.enums_open.push((key, variant));
        self.place.push((name, None));
        Ok(Choice { key, variant, within_itself })
    }

    /// Learns from how the variant ended.
    pub(super) fn leave_enum(&mut self, choice: &Choice, failed: Option<&Halt>) {
        let &Choice { key, variant, within_itself } = choice;
        let known = self.enums.entry(key).or_default();
        known.active = within_itself;
        match failed {
            None => {
                self.place.pop();
                self.enums_open.pop();
                self.taken.push((key, variant));
                if known.base.is_none() {
                    known.base = Some(variant);
                    // What led in a circle before may end now.
                    self.enums.values_mut().for_each(|variants| variants.blocked.clear());
                    self.reopened = !std::mem::take(&mut self.left_empty).is_empty();
                }
            }
            Some(_) if self.blamed => {}
            Some(Halt(reason)) => {
                self.blamed = match self.fault {
                    Some(Fault::Impossible(_)) => false,
                    // The enum round this one took the variant that leads here.
                    Some(Fault::Round) if within_itself => false,
                    Some(Fault::Round) => known.blocked.insert(variant),
                    Some(Fault::NoVariant) => {
                        known.count = variant;
                        known.blocked.clear();
                        true
                    }
                    None => {
                        self.refusal = Some(reason.clone());
                        known.seen.insert(variant)
                    }
                };
            }
        }
    }

    /// Leaves an option, sequence or map, and empty in the next pass if it was what led in a circle.
    pub(super) fn leave_container(&mut self, key: &'static str, failed: bool) {
        if !failed {
            self.open.pop();
        } else if !self.blamed && matches!(self.fault, Some(Fault::Round)) {
            self.blamed = self.left_empty.insert(key);
        }
    }

    /// True if some variant was never made.
    pub(super) fn is_unfinished(&self) -> bool {
        self.enums.keys().any(|key| self.has_unseen(key))
    }
}

//! A program's kinds under the numbers of a journal that was recorded with others as well, or in another order: what a replay does with
//! those that are there. What is lacking keeps its number and its name and is never reached: a worker that needs it is left before the
//! round in which it does, by whoever plays it back.

use std::{any::TypeId, collections::BTreeMap, sync::Arc};

use crate::{
    fsm::{Lacking, TypeNumbers},
    worker::{
        catalogue::{Catalogue, Intake, Kind, MessageType, NO_TYPE},
        table::{Table, TableKind},
    },
};

/// Has the number of what is lacking. Nobody can ask for it.
struct Gap;

/// By a program's own numbers, those of a journal.
struct Numbers(Vec<u32>);

impl Numbers {
    /// What has a name in the journal has its number there; what has none follows behind.
    fn new<T>(recorded: &[T], own: &[T], name: fn(&T) -> &String) -> Numbers {
        let mut next = recorded.len();
        let number = |it: &T| {
            let there = recorded.iter().position(|recorded| name(recorded) == name(it));
            let at = there.unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            u32::try_from(at).expect("a journal's table has few entries")
        };
        Numbers(own.iter().map(number).collect())
    }

    fn of(&self, own: u32) -> u32 {
        self.0.get(own as usize).copied().unwrap_or(NO_TYPE)
    }

    /// What the program has, in the order of those numbers.
    fn sort<T>(&self, own: impl IntoIterator<Item = T>, len: usize) -> Vec<Option<T>> {
        let mut sorted: Vec<_> = (0..len).map(|_| None).collect();
        for (at, number) in own.into_iter().zip(&self.0) {
            let number = *number as usize;
            sorted.resize_with(sorted.len().max(number + 1), || None);
            sorted[number] = Some(at);
        }
        sorted
    }
}

impl Catalogue {
    /// The same kinds and message types under the numbers that a journal's table has for them. None, if one that both have isn't the same:
    /// its fields, its version or its policies.
    ///
    /// What the journal has and the program hasn't is [lacking](Catalogue::lacks). A worker that is played back with such a
    /// catalogue is left before the round that needs it ([`Playback::left`](crate::playback::Playback::left)); nothing else can be done with one.
    #[must_use]
    pub fn numbered_as(&self, recorded: &Table) -> Option<Catalogue> {
        if !self.table.is_alike_where_both_are(recorded) {
            return None;
        }
        let own = &self.table;
        let messages = Numbers::new(&recorded.messages, &own.messages, |it| &it.name);
        let kinds = Numbers::new(&recorded.kinds, &own.kinds, |it| &it.name);
        let renumbered = |kind: &Kind| {
            let Intake { message, plain, capacity, bytes } = kind.intake;
            let intake = Intake { message: messages.of(message), plain: messages.of(plain), capacity, bytes };
            Kind { intake, ..*kind }
        };
        let own_kinds = self.kinds.iter().flatten().map(renumbered);
        let table_kinds =
            own.kinds.iter().cloned().map(|kind| TableKind { message: messages.of(kind.message), ..kind });
        let table = Table {
            messages: filled(&recorded.messages, messages.sort(own.messages.iter().cloned(), recorded.messages.len())),
            kinds: filled(&recorded.kinds, kinds.sort(table_kinds, recorded.kinds.len())),
            resources: own.resources.clone(),
        };
        let own_messages = self.messages.iter().flatten().cloned();
        let (own_messages, own_kinds) =
            (messages.sort(own_messages, recorded.messages.len()), kinds.sort(own_kinds, recorded.kinds.len()));
        let pair = |(of, takes): (u32, u32)| (messages.of(of), messages.of(takes));
        let accepts: BTreeMap<_, _> = self.accepts.iter().map(|(types, how)| (pair(*types), *how)).collect();
        let answers: BTreeMap<_, _> = self.answers.iter().map(|(types, how)| (pair(*types), *how)).collect();
        let message_types: Vec<_> = own_messages.iter().map(|of| type_id(of, |of: &MessageType| of.type_id)).collect();
        let kind_types: Vec<_> = own_kinds.iter().map(|of| type_id(of, |of: &Kind| of.type_id)).collect();
        let pairs = (accepts.keys().copied().collect(), answers.keys().copied().collect());
        let numbers = TypeNumbers::new(&message_types, &kind_types, pairs.0, pairs.1);
        let names = |name: &dyn Fn(usize) -> String, types: &[TypeId]| {
            (0..types.len()).filter(|at| types[*at] == TypeId::of::<Gap>()).map(name).collect::<Vec<_>>()
        };
        let lacking = Lacking {
            kinds: names(&|at| table.kinds[at].name.clone(), &kind_types),
            messages: names(&|at| table.messages[at].name.clone(), &message_types),
        };
        Some(Catalogue {
            kinds: own_kinds,
            messages: own_messages,
            accepts,
            answers,
            numbers: Arc::new(numbers.lacking(lacking)),
            table,
            resources: self.resources.clone(),
        })
    }

    /// What a journal's program had and this one hasn't, such as `kind teller`: kinds first, in the order of their numbers.
    pub fn lacks(&self) -> impl Iterator<Item = String> {
        let Lacking { kinds, messages } = self.numbers.what_is_lacking();
        let kinds = kinds.iter().map(|name| format!("kind {name}"));
        kinds.chain(messages.iter().map(|name| format!("message type {name}")))
    }

    /// True if it lacks the kind of that number.
    pub(crate) fn lacks_kind(&self, number: u32) -> bool {
        matches!(self.kinds.get(number as usize), Some(None))
    }

    /// True if it lacks the message type of that number.
    pub(crate) fn lacks_message(&self, number: u32) -> bool {
        matches!(self.messages.get(number as usize), Some(None))
    }

    /// True if it lacks anything.
    pub(crate) fn is_partial(&self) -> bool {
        self.numbers.are_partial()
    }
}

/// The entries of a journal's table, and those that the program has beside them.
fn filled<T: Clone>(recorded: &[T], own: Vec<Option<T>>) -> Vec<T> {
    let there = recorded.iter().cloned().map(Some).chain(std::iter::repeat_with(|| None));
    own.into_iter().zip(there).filter_map(|(own, recorded)| recorded.or(own)).collect()
}

fn type_id<T>(of: &Option<T>, id: impl Fn(&T) -> TypeId) -> TypeId {
    of.as_ref().map_or(TypeId::of::<Gap>(), id)
}

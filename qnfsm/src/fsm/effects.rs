//! What a handler asks for, in the order in which it asked. The handler only appends; the worker applies the list when
//! the handler has returned, and throws it away when it panicked.
//!
//! Messages and start values that an effect carries lie in the pools; the effect holds the reference.

use std::{
    any::{TypeId, type_name},
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, EncodeError, Trust},
    digest::Digest,
    fsm::{
        Fsm,
        context::TimerId,
        pool::{MessageRef, Pools},
    },
    id::{NodeId, RawQueueId, RequestId, WorkerId},
    message::Message,
    random::Generator,
    slots::Slots,
    time::Time,
};

/// Put a message into a queue: what handlers ask for most, and so a value of its own.
///
/// It is serialized, as all effects are, for a digest that stands in journals: all of it but where something lies.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sending {
    pub(crate) to: RawQueueId,
    pub(crate) type_number: u32,
    #[serde(skip)]
    pub(crate) message: MessageRef,
    pub(crate) request: Option<RequestId>,
}

impl Sending {
    /// True if it goes the same way, from the same FSM, and neither asks for an answer.
    #[inline]
    pub(crate) fn goes_with(&self, other: &Sending) -> bool {
        self.to == other.to
            && self.type_number == other.type_number
            && self.request.is_none()
            && other.request.is_none()
    }
}

/// Any other effect, in words that don't depend on types. `type_number`s name the pool that holds the message.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) enum Effect {
    /// Put a message into the own queue, ahead of all others.
    SendSelf {
        type_number: u32,
        #[serde(skip)]
        message: MessageRef,
    },
    /// Answer a request.
    Reply {
        to: RawQueueId,
        request: RequestId,
        type_number: u32,
        #[serde(skip)]
        message: MessageRef,
    },
    /// Say that a request will not be answered.
    Fail { to: RawQueueId, request: RequestId },
    /// From now on a request is under way, until its deadline.
    Await { request: RequestId, deadline: Time, timer: TimerId, answer: u32 },
    /// No longer wait for an answer.
    CancelRequest { request: RequestId },
    /// Set a timer.
    SetTimer {
        timer: TimerId,
        #[serde(skip)]
        name: NameRef,
        deadline: Time,
        period_ns: Option<u64>,
        type_number: u32,
        #[serde(skip)]
        message: MessageRef,
    },
    /// Cancel the timer with that ID.
    CancelTimer { timer: TimerId },
    /// Cancel the timer of that name.
    CancelNamed {
        #[serde(skip)]
        name: NameRef,
    },
    /// Create an FSM whose ID is allotted already; its value is in the nursery of its kind.
    Spawn {
        queue: RawQueueId,
        kind: u32,
        #[serde(skip)]
        value: MessageRef,
    },
    /// Ask another worker to create an FSM.
    SpawnOn {
        worker: WorkerId,
        kind: u32,
        #[serde(skip)]
        value: MessageRef,
        request: RequestId,
    },
    /// Stop the FSM of a queue.
    Stop { queue: RawQueueId },
    /// Be told when a queue is gone.
    Watch { queue: RawQueueId },
    /// No longer be told.
    Unwatch { queue: RawQueueId },
    /// Be told of dead letters, or no longer.
    DeadLetters { wanted: bool },
}

/// A timer's name among those that the handler has used, so that effects are plain values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameRef(usize);

/// What a timer goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerName {
    /// The state's own; ends with the state.
    State,
    /// A name of the user's: setting it anew replaces it.
    Named(Cow<'static, str>),
    /// Only its ID.
    Unnamed,
}

/// Which timers to cancel.
#[derive(Debug, Clone)]
pub(crate) enum WhichTimer {
    /// The one of that name.
    Name(TimerName),
    /// The one with that ID.
    Id(TimerId),
}

/// The names of what the program that recorded registered, and the one that plays it back doesn't.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacking {
    pub(crate) kinds: Vec<String>,
    pub(crate) messages: Vec<String>,
}

/// The numbers of message types and kinds by Rust type, as the catalogue gave them out.
#[derive(Debug)]
pub(crate) struct TypeNumbers {
    messages: NumberTable,
    kinds: NumberTable,
    /// Pairs of message types, sorted: queues of the first take the second.
    accepts: Vec<(u32, u32)>,
    /// Pairs of message types, sorted: FSMs with the first wait for answers of the second.
    answers: Vec<(u32, u32)>,
    /// What was registered when it was recorded, and isn't now.
    lacking: Lacking,
}

impl TypeNumbers {
    /// The types in the order of their numbers; the pairs sorted.
    pub(crate) fn new(
        messages: &[TypeId],
        kinds: &[TypeId],
        accepts: Vec<(u32, u32)>,
        answers: Vec<(u32, u32)>,
    ) -> TypeNumbers {
        let (messages, kinds) = (NumberTable::new(messages), NumberTable::new(kinds));
        TypeNumbers { messages, kinds, accepts, answers, lacking: Lacking::default() }
    }

    /// The same of a program that lacks some of what was registered when it was recorded.
    pub(crate) fn lacking(self, lacking: Lacking) -> TypeNumbers {
        TypeNumbers { lacking, ..self }
    }

    pub(crate) fn what_is_lacking(&self) -> &Lacking {
        &self.lacking
    }

    pub(crate) fn are_partial(&self) -> bool {
        self.lacking != Lacking::default()
    }

    pub(crate) fn accepts(&self, message: u32, takes: u32) -> bool {
        self.accepts.binary_search(&(message, takes)).is_ok()
    }

    pub(crate) fn answers(&self, message: u32, answer: u32) -> bool {
        self.answers.binary_search(&(message, answer)).is_ok()
    }

    #[inline]
    pub(crate) fn message<M: 'static>(&self) -> Option<u32> {
        self.messages.find(TypeId::of::<M>())
    }

    #[inline]
    pub(crate) fn kind<F: 'static>(&self) -> Option<u32> {
        self.kinds.find(TypeId::of::<F>())
    }
}

/// Numbers by type: a hash table with open addressing, at most half full. A type's ID is a hash already, so its first place
/// is known when the program is compiled, and the type is nearly always there. It is only looked up in, never walked.
#[derive(Debug)]
struct NumberTable(Vec<Option<(TypeId, u32)>>);

impl NumberTable {
    /// Numbers the types in their order.
    fn new(types: &[TypeId]) -> NumberTable {
        let mut places = vec![None; (2 * types.len()).next_power_of_two()];
        for (&id, number) in types.iter().zip(0..) {
            let mut at = NumberTable::first_place(id, places.len());
            while places[at].is_some() {
                at = (at + 1) % places.len();
            }
            places[at] = Some((id, number));
        }
        NumberTable(places)
    }

    #[inline]
    fn first_place(id: TypeId, places: usize) -> usize {
        let mut first_word = FirstWord::default();
        id.hash(&mut first_word);
        usize::try_from(first_word.finish() & (places as u64 - 1)).expect("it is less than the number of places")
    }

    #[inline]
    fn find(&self, id: TypeId) -> Option<u32> {
        match self.0.get(NumberTable::first_place(id, self.0.len())) {
            Some(Some((known, number))) if *known == id => Some(*number),
            _ => self.search(id),
        }
    }

    #[cold]
    fn search(&self, id: TypeId) -> Option<u32> {
        let places = self.0.as_slice();
        let mut at = NumberTable::first_place(id, places.len());
        // The table is never full, so the search ends.
        while let Some((known, number)) = places[at] {
            if known == id {
                return Some(number);
            }
            at = (at + 1) % places.len();
        }
        None
    }
}

/// Takes the first number that it is given for a hash.
#[derive(Default)]
struct FirstWord(Option<u64>);

impl Hasher for FirstWord {
    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0.get_or_insert(word);
    }

    fn write(&mut self, bytes: &[u8]) {
        let word = bytes.iter().fold(0, |word: u64, byte| word.rotate_left(8) ^ u64::from(*byte));
        self.0.get_or_insert(word);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.unwrap_or_default()
    }
}

impl Effect {
    /// The message that it carries, with the number of its type.
    pub(crate) fn message(&self) -> Option<(u32, MessageRef)> {
        match *self {
            Effect::SendSelf { type_number, message }
            | Effect::Reply { type_number, message, .. }
            | Effect::SetTimer { type_number, message, .. } => Some((type_number, message)),
            _ => None,
        }
    }

    /// The timer's name that it carries.
    pub(crate) fn name(&self) -> Option<NameRef> {
        match *self {
            Effect::SetTimer { name, .. } | Effect::CancelNamed { name } => Some(name),
            _ => None,
        }
    }

    /// The start value that it carries, with the number of its kind.
    pub(crate) fn start_value(&self) -> Option<(u32, MessageRef)> {
        match *self {
            Effect::Spawn { kind, value, .. } | Effect::SpawnOn { kind, value, .. } => Some((kind, value)),
            _ => None,
        }
    }
}

/// The effects of the handler that runs, and what a handler can see of its worker.
pub(crate) struct Effects {
    /// What is to be sent, in order.
    pub(crate) sends: Vec<Sending>,
    /// All else, in order, each with the number of sends before it.
    pub(crate) others: Vec<(usize, Effect)>,
    /// The timers' names in the list.
    names: Vec<TimerName>,
    /// Start values of FSMs that are yet to be created, by kind number.
    pub(crate) nurseries: Pools,
    pub(crate) numbers: Arc<TypeNumbers>,
    pub(crate) slots: Slots,
    pub(crate) digest: Digest,
    pub(crate) now: Time,
    pub(crate) node: NodeId,
    pub(crate) worker: WorkerId,
    /// The number of the next timer set; timers with the same deadline fire in the order of their numbers.
    pub(crate) next_timer: u64,
    pub(crate) seed: u64,
    /// Which version of each behaviour is used here.
    pub(crate) versions: BTreeMap<String, u32>,
    /// Why what the handler asked for can't be done.
    pub(crate) refusal: Option<Box<Refusal>>,
    /// Room for encoding.
    pub(crate) scratch: Vec<u8>,
}

/// Why nothing of what a handler asked for is done, though it may have returned.
pub(crate) enum Refusal {
    /// It did what no handler may; the worker treats it as a panic with this text.
    Misuse(String),
    /// The values of the external ports cannot be had any more: the driver wants the round to end here.
    Halted(ExternalFault),
    /// In a replay: it needs what isn't registered, and may have been when it was recorded.
    Lacking(String),
}

/// Why a driver can't give an external value. It ends the round in mid-handler, and the worker with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalFault(pub String);

/// The ports through which a driver hands external values to a worker.
pub trait Externals {
    /// The answer of `port` to `question`, both encoded. A node asks the world and records the answer before it
    /// returns it; a replay returns what was recorded.
    ///
    /// # Errors
    /// When there is no such value to be had; the round ends at once and its worker can't go on.
    fn read(&mut self, worker: WorkerId, port: &str, question: &[u8]) -> Result<Vec<u8>, ExternalFault>;

    /// The version of a behaviour that a worker uses now, where it has used `known` (0 for none), and `latest` is what the program has.
    /// A node gives `latest` and records it first where that is new; a replay gives what was recorded, and `known` where nothing was.
    ///
    /// # Errors
    /// As [`read`](Externals::read).
    fn version(&mut self, _worker: WorkerId, _name: &str, _known: u32, latest: u32) -> Result<u32, ExternalFault> {
        Ok(latest)
    }

    /// The handler of that FSM is about to run, for the delivery of that number within the round, counted from 1. Heard of rounds
    /// that are run with care only.
    fn delivers(&mut self, _worker: WorkerId, _delivery: u32, _queue: RawQueueId, _kind: &str) {}
}

/// Which of an FSM's handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// [`Fsm::start`](crate::Fsm::start).
    Start,
    /// [`Fsm::handle`](crate::Fsm::handle).
    Handle,
    /// [`Fsm::enter`](crate::Fsm::enter).
    Enter,
}

/// What the unwinding of a halted handler carries, to tell it from a user's panic.
pub(crate) struct Halt;

impl Effects {
    /// No effects yet, of handlers in that worker.
    pub(crate) fn new(
        node: NodeId,
        worker: WorkerId,
        seed: u64,
        nurseries: Pools,
        numbers: Arc<TypeNumbers>,
    ) -> Effects {
        Effects {
            sends: Vec::new(),
            others: Vec::new(),
            names: Vec::new(),
            nurseries,
            numbers,
            slots: Slots::new(),
            digest: Digest::new(),
            now: Time::ZERO,
            node,
            worker,
            next_timer: 0,
            seed,
            versions: BTreeMap::new(),
            refusal: None,
            scratch: Vec::new(),
        }
    }

    /// Keeps the name of a timer in an effect.
    pub(crate) fn add_name(&mut self, name: TimerName) -> NameRef {
        self.names.push(name);
        NameRef(self.names.len() - 1)
    }

    pub(crate) fn name(&self, name: NameRef) -> &TimerName {
        &self.names[name.0]
    }

    /// All that was asked for is done.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.sends.clear();
        self.others.clear();
        self.names.clear();
    }

    /// The handler that just returned asked for something.
    #[inline]
    pub(crate) fn are_to_be_applied(&self) -> bool {
        !self.sends.is_empty() || !self.others.is_empty()
    }

    /// Appends an effect that is no send.
    pub(crate) fn push(&mut self, effect: Effect) {
        self.others.push((self.sends.len(), effect));
    }

    /// The number of a message type; an unregistered one is misuse.
    #[inline]
    pub(crate) fn message_number<M: Message>(&mut self) -> Option<u32> {
        let number = self.numbers.message::<M>();
        if number.is_none() {
            self.unregistered_message::<M>();
        }
        number
    }

    #[cold]
    fn unregistered_message<M>(&mut self) {
        let message = type_name::<M>();
        // What it was called when it was recorded isn't known: it may have had a name of its own.
        let may_be_lacking = !self.numbers.lacking.messages.is_empty();
        self.unregistered(
            may_be_lacking,
            format_args!("message type {message} is not registered"),
            format_args!("message::<{message}>()`, or the `with`, `accepts` or `replies` of an FSM that takes it,"),
        );
    }

    /// Notes the misuse of what the kinds don't name. `add` is what to add to them, from behind `Kinds::` on. Where they may have named it
    /// when it was recorded, and so it may be lacking, nobody knows what came of it then.
    #[cold]
    pub(crate) fn unregistered(&mut self, may_be_lacking: bool, what: fmt::Arguments<'_>, add: fmt::Arguments<'_>) {
        let text = format!("{what}; add `Kinds::{add} to the function that names the kinds");
        let refusal = if may_be_lacking { Refusal::Lacking(text) } else { Refusal::Misuse(text) };
        self.refusal.get_or_insert_with(|| Box::new(refusal));
    }

    /// Notes that a kind is not registered.
    #[cold]
    pub(crate) fn unregistered_kind<F: Fsm>(&mut self) {
        let kind = type_name::<F>();
        let may_be_lacking = self.numbers.lacking.kinds.iter().any(|name| name == F::NAME);
        self.unregistered(
            may_be_lacking,
            format_args!("kind {kind} is not registered"),
            format_args!("with::<{kind}>()`"),
        );
    }

    /// What has to be encoded later and read back must pass the codec; anything else is misuse.
    pub(crate) fn check_carried<T: Message>(&mut self, what: &str, value: &T) {
        self.scratch.clear();
        let carried = match Codec::CURRENT.encode(value, &mut self.scratch) {
            Ok(()) => {
                Codec::CURRENT.decode::<T>(&self.scratch, Trust::Node).map(drop).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = carried {
            self.misuse(|| format!("{what} can't pass the codec: {error}"));
        }
    }

    /// Throws away what a handler that panicked had appended. Slots go back in the order that undoes the allotment.
    pub(crate) fn cut_off(&mut self, pools: &mut Pools) {
        for send in self.sends.drain(..) {
            pools.any(send.type_number).discard(send.message);
        }
        while let Some((_, effect)) = self.others.pop() {
            if let Some((type_number, message)) = effect.message() {
                pools.any(type_number).discard(message);
            }
            if let Some((kind, value)) = effect.start_value() {
                self.nurseries.any(kind).discard(value);
            }
            if let Effect::Spawn { queue, .. } = effect {
                self.slots.take_back(queue.slot());
            }
        }
        self.names.clear();
        self.refusal = None;
    }

    /// What the handler that just returned asked for can't be done: it misused its context, or lacks an external value.
    #[inline]
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Notes the handler's first misuse.
    #[cold]
    pub(crate) fn misuse(&mut self, text: impl FnOnce() -> String) {
        self.refusal.get_or_insert_with(|| Box::new(Refusal::Misuse(text())));
    }

    /// Notes that the handler lacks an external value, which is worse than any misuse.
    #[cold]
    pub(crate) fn halt(&mut self, fault: ExternalFault) {
        self.refusal = Some(Box::new(Refusal::Halted(fault)));
    }

    /// A number for a value, the same for equal values.
    pub(crate) fn digest_of<T: Serialize>(&mut self, value: &T) -> u64 {
        match state_digest(value, &mut self.scratch) {
            Ok(digest) => digest,
            Err(error) => {
                self.misuse(|| format!("a state can't pass the codec: {error}"));
                0
            }
        }
    }

    pub(crate) fn allot_timer(&mut self) -> TimerId {
        self.next_timer += 1;
        TimerId(self.next_timer)
    }
}

/// What an FSM owns beside its data: its name, its generator, its count of requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Own {
    pub(crate) queue: RawQueueId,
    /// The number of its message type.
    pub(crate) message: u32,
    pub(crate) generator: Generator,
    pub(crate) requests: u64,
}

/// The digest of a state; there is none to tell apart of a type that has no size. `scratch` is room for its bytes.
#[inline]
pub(crate) fn state_digest<T: Serialize>(state: &T, scratch: &mut Vec<u8>) -> Result<u64, EncodeError> {
    if size_of::<T>() == 0 {
        return Ok(1);
    }
    scratch.clear();
    Codec::CURRENT.encode(state, scratch)?;
    Ok(Digest::of(scratch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_its_number_and_a_stranger_has_none() {
        let types =
            [TypeId::of::<u8>(), TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<()>()];
        let table = NumberTable::new(&types);
        for (&id, number) in types.iter().zip(0..) {
            assert_eq!(table.find(id), Some(number));
        }
        assert_eq!(table.find(TypeId::of::<String>()), None);
        assert_eq!(NumberTable::new(&[]).find(TypeId::of::<String>()), None);
    }
}

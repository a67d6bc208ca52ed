//! A cell with the type of its FSM: the only place that knows it, and how its bytes lie.

use std::hint::black_box;

use serde::{Deserialize, Serialize};

use crate::{
    codec::{Codec, DecodeError, EncodeError, Trust},
    fsm::{
        Context, Effects, Externals, Fsm, Next, OldFsm, OnPanic, Own, Pools, Reading, Resources, UpgradeError,
        state_digest, upgraded,
    },
    random::Generator,
    schema::Printer,
    worker::{
        catalogue::CellSetup,
        cell::{AnyCell, Outcome, Several},
        envelope::Envelope,
        image::COUNT_MAX,
    },
};

/// One FSM and what is its own.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Cell<F: Fsm> {
    fsm: F,
    /// `None` until the start handler has run.
    state: Option<F::State>,
    /// The state that was left, from the handler's return to the enter action.
    #[serde(skip)]
    left: Option<F::State>,
    state_digest: u64,
    own: Own,
    /// For kinds that are restarted after a panic.
    start_value: Option<Box<[u8]>>,
    restarts: u32,
}

/// What stands behind data and state in the bytes of a [`Cell`]: the rest of its fields, in their order.
#[derive(Deserialize)]
struct Rest {
    #[expect(dead_code, reason = "who reads this steps over it, or makes it anew")]
    state_digest: u64,
    own: Own,
    start_value: Option<Box<[u8]>>,
    restarts: u32,
}

/// A cell's parts for who knows the FSM's type by its schema alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellView<'a> {
    /// The FSM's data.
    pub data: &'a [u8],
    /// Its state; none before its start handler has run.
    pub state: Option<&'a [u8]>,
    /// How many requests it has made.
    pub requests: u64,
    /// The data that it was spawned with, of kinds that are restarted after a panic.
    pub start_value: Option<Box<[u8]>>,
    /// How often it was restarted.
    pub restarts: u32,
}

impl<'a> CellView<'a> {
    /// Takes the bytes of a cell apart, of which the printers know data and state.
    pub(super) fn read(bytes: &'a [u8], data: &Printer, state: &Printer) -> Result<CellView<'a>, DecodeError> {
        let (data, rest) = bytes.split_at(data.front(bytes)?);
        let (state, rest) = match rest.split_first() {
            Some((0, rest)) => (None, rest),
            Some((1, rest)) => {
                let (state, rest) = rest.split_at(state.front(rest)?);
                (Some(state), rest)
            }
            Some(_) => return Err(DecodeError::Malformed("an option begins with 0 or 1".to_owned())),
            None => return Err(DecodeError::CutShort),
        };
        let Rest { own, start_value, restarts, .. } = Codec::CURRENT.decode_image(rest)?;
        Ok(CellView { data, state, requests: own.requests, start_value, restarts })
    }
}

impl<F: Fsm> Cell<F> {
    pub(super) fn boxed(fsm: F, setup: CellSetup) -> Result<Box<dyn AnyCell>, EncodeError> {
        let start_value = if let OnPanic::Restart { .. } = F::ON_PANIC {
            let mut bytes = Vec::new();
            Codec::CURRENT.encode(&fsm, &mut bytes)?;
            Some(bytes.into_boxed_slice())
        } else {
            None
        };
        let CellSetup { queue, message, seed } = setup;
        let own = Own { queue, message, generator: Generator::new(seed, queue), requests: 0 };
        Ok(Box::new(Cell { fsm, state: None, left: None, state_digest: 0, own, start_value, restarts: 0 }))
    }

    pub(super) fn decode_start(bytes: &[u8], setup: CellSetup) -> Result<Box<dyn AnyCell>, DecodeError> {
        let fsm: F = Codec::CURRENT.decode(bytes, Trust::Node)?;
        Cell::boxed(fsm, setup).map_err(|error| DecodeError::Malformed(error.to_string()))
    }

    pub(super) fn restore(bytes: &[u8], setup: CellSetup) -> Result<Box<dyn AnyCell>, DecodeError> {
        let cell: Cell<F> = Codec::CURRENT.decode_image(bytes)?;
        if (cell.own.queue, cell.own.message) != (setup.queue, setup.message) {
            return Err(DecodeError::Malformed(format!("the cell of {} stands at {}", cell.own.queue, setup.queue)));
        }
        Ok(Box::new(cell))
    }

    /// The bytes of a cell that a program with another table wrote; `from` is the version of its FSM, if that has another form.
    pub(super) fn carry_over(bytes: &[u8], from: Option<u32>, setup: CellSetup) -> Result<Vec<u8>, UpgradeError> {
        let mut cell = match from {
            None => Codec::CURRENT.decode_image(bytes)?,
            Some(version) => Cell::<F>::upgraded(bytes, version)?,
        };
        cell.own.message = setup.message;
        match F::ON_PANIC {
            OnPanic::Restart { .. } if cell.start_value.is_none() => {
                cell.start_value = Some(encoded(&cell.fsm)?.into());
            }
            OnPanic::Restart { .. } => {}
            _ => cell.start_value = None,
        }
        let mut bytes = Vec::new();
        Codec::CURRENT.encode_image(&cell, &mut bytes)?;
        Ok(bytes)
    }

    fn upgraded(bytes: &[u8], version: u32) -> Result<Cell<F>, UpgradeError> {
        let reading = Reading::default();
        let (fsm, state) = upgraded(|| F::upgrade(OldFsm::new(version, bytes, true, &reading)))?;
        let Some(left) = reading.left.get() else {
            return Err(UpgradeError::Refused("`upgrade` returned without reading what it was given".to_owned()));
        };
        if state.is_some() != reading.has_started.get() {
            let text = "`upgrade` must give a state to an FSM that had one, and none to one that hadn't started";
            return Err(UpgradeError::Refused(text.to_owned()));
        }
        let Rest { own, start_value, restarts, .. } = Codec::CURRENT.decode_image(&bytes[bytes.len() - left..])?;
        let state_digest = state.map_or(Ok(0), |state| state_digest(&state, &mut Vec::new()))?;
        let start_value = start_value.map(|bytes| Cell::<F>::upgrade_start(&bytes, version)).transpose()?;
        let start_value = start_value.map(Vec::into_boxed_slice);
        Ok(Cell { fsm, state, left: None, state_digest, own, start_value, restarts })
    }

    /// The bytes of a start value of which a program of that version wrote these.
    pub(super) fn upgrade_start(bytes: &[u8], version: u32) -> Result<Vec<u8>, UpgradeError> {
        let reading = Reading::default();
        let (fsm, _) = upgraded(|| F::upgrade(OldFsm::new(version, bytes, false, &reading)))?;
        match reading.left.get() {
            Some(0) => encoded(&fsm),
            Some(left) => Err(DecodeError::Trailing { left }.into()),
            None => Err(UpgradeError::Refused("`upgrade` returned without reading what it was given".to_owned())),
        }
    }

    /// The FSM and its state, for tests.
    pub(super) fn inside(&self) -> (&F, Option<F::State>) {
        (&self.fsm, self.state)
    }

    fn set_state(&mut self, state: F::State, effects: &mut Effects) {
        self.state = Some(state);
        self.state_digest = effects.digest_of(&state);
    }
}

fn encoded<T: Serialize>(value: &T) -> Result<Vec<u8>, UpgradeError> {
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(value, &mut bytes)?;
    Ok(bytes)
}

impl<F: Fsm> AnyCell for Cell<F> {
    fn start(
        &mut self,
        effects: &mut Effects,
        pools: &mut Pools,
        externals: &mut dyn Externals,
        resources: &Resources,
    ) {
        let queue = self.own.queue;
        effects.digest.mix(u64::from(queue.slot()));
        let lent = pools.lend(self.own.message);
        let state = self.fsm.start(&mut Context::new(effects, lent, &mut self.own, externals, resources, queue, 0));
        self.set_state(state, effects);
        effects.digest.mix(self.state_digest);
    }

    fn handle(
        &mut self,
        envelope: &Envelope,
        mut more: Option<&mut Several<'_>>,
        effects: &mut Effects,
        pools: &mut Pools,
        externals: &mut dyn Externals,
        resources: &Resources,
    ) -> Outcome {
        let mut this = self;
        let mut lent = pools.lend(this.own.message);
        let Envelope { mut sender, mut claim, mut message, .. } = *envelope;
        loop {
            let (state, of) = (this.state.expect("an FSM starts before it handles"), this.own.message);
            let taken = lent.own.take(message);
            let mut cx =
                Context::new(effects, lent.again(), &mut this.own, externals, resources, sender, claim.beats());
            let outcome = match this.fsm.handle(state, taken, &mut cx) {
                Next::Stay => Outcome::Stayed,
                Next::Goto(to) if to == state => Outcome::Stayed,
                Next::Goto(to) => {
                    this.left = Some(state);
                    this.set_state(to, effects);
                    Outcome::Changed
                }
                Next::Postpone(message) => Outcome::Postponed(lent.own.put(message)),
                Next::Unhandled(_) => Outcome::Unhandled,
                Next::Stop => Outcome::Stop,
            };
            // Which queue, which type and which state, in one step: no more is taken from the time of a message.
            effects.digest.mix((u64::from(this.own.queue.slot()) | u64::from(of) << 32) ^ this.state_digest);
            let Some(more) = &mut more else { return outcome };
            if !outcome.leaves_effects_alone(claim, effects) || effects.are_to_be_applied() {
                return outcome;
            }
            let Some(next) = more.next() else { return outcome };
            Envelope { sender, claim, message, .. } = *next;
            // What only further messages would want early is not to be made ready for the first, which mostly is alone.
            this = black_box(this);
        }
    }

    fn enter(
        &mut self,
        effects: &mut Effects,
        pools: &mut Pools,
        externals: &mut dyn Externals,
        resources: &Resources,
    ) {
        let to = self.state.expect("a state is entered after it was set");
        let from = self.left.take();
        let queue = self.own.queue;
        let lent = pools.lend(self.own.message);
        self.fsm.enter(from, to, &mut Context::new(effects, lent, &mut self.own, externals, resources, queue, 0));
    }

    fn restart(&mut self) {
        let bytes = self.start_value.as_ref().expect("kinds that restart keep their start value");
        self.fsm = Codec::CURRENT.decode(bytes, Trust::Node).expect("the start value passed the codec at the spawn");
        self.state = None;
        self.left = None;
        self.restarts += 1;
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }

    fn has_started(&self) -> bool {
        self.state.is_some()
    }

    fn requests(&self) -> u64 {
        self.own.requests
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Codec::CURRENT.encode_image(self, out)
    }

    fn encode_fsm(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Codec::CURRENT.encode_image(&self.fsm, out)
    }

    fn encode_state(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.state.map_or(Ok(()), |state| Codec::CURRENT.encode(&state, out))
    }

    fn state_text(&self) -> String {
        self.state.map_or_else(|| "not started".to_owned(), |state| format!("{state:?}"))
    }

    fn contradiction(&self) -> Option<&'static str> {
        let restarts = matches!(F::ON_PANIC, OnPanic::Restart { .. });
        let starts_again = |bytes: &[u8]| Codec::CURRENT.decode::<F>(bytes, Trust::Node).is_ok();
        if restarts && !self.start_value.as_deref().is_some_and(starts_again) {
            return Some("an FSM that is to be restarted has no start value");
        }
        if self.own.requests > COUNT_MAX {
            return Some("a count of requests that no FSM reaches");
        }
        if self.own.generator.is_stuck() {
            return Some("an FSM's generator gives only zeros");
        }
        None
    }
}

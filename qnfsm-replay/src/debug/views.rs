//! Makes views of steps, FSMs, frames and kinds, by the tables of a program.

use std::{cmp::Reverse, collections::BTreeSet};

use qnfsm::{
    Ask, CameAs, End, FaultKind, FsmView, Handler, ImageView, NodeId, Place, RawQueueId, RequestId, TimerName,
    WorkerId,
    frame::Batch,
    schema::{Content, Path, Printer},
};

use super::{
    expression::HandlerIs,
    predicate::{came_of, end_of},
    view::{
        AskedView, CauseView, ChangeView, FsmRow, KindFields, KindView, MessageView, Shown, SpotView, StepView, View,
    },
};
use crate::{
    dump::{Instant, Line, Name, Number, Options, Own, Tables, What, frame_line, parts},
    session::{Cause, Inside, Message, Origin, RoundLog, Step, Wish},
};

/// How many fields that changed are listed unless it is said.
pub(super) const CHANGES_MAX: usize = 40;
/// How many are looked at for those that are to be listed first.
const CHANGES_LOOKED_AT_MAX: usize = 100_000;

/// Something that a handler asked for, in words.
#[cfg(feature = "cli")]
pub(crate) fn asked_text(tables: &Tables, wish: &Wish, chars_max: usize) -> String {
    Views { node: NodeId(0), tables, chars_max, changes_max: CHANGES_MAX, watched: Vec::new(), named: "" }
        .asked(wish)
        .to_string()
}

/// Makes views.
pub(super) struct Views<'t> {
    /// Whose queues frames are for.
    pub(super) node: NodeId,
    pub(super) tables: &'t Tables,
    /// How much of one value is shown.
    pub(super) chars_max: usize,
    /// How many fields that changed are listed.
    pub(super) changes_max: usize,
    /// Fields that are watched: where many have changed, they are listed first.
    pub(super) watched: Vec<String>,
    /// What is said of the step, such as what an invariant says: behind these come the fields that its words name.
    pub(super) named: &'t str,
}

impl Views<'_> {
    pub(super) fn step(&self, at: Option<SpotView>, step: &Step) -> StepView {
        let Step { queue, kind, handler, message, before, after, end, asked, .. } = step;
        let of_kind = self.tables.kind(*kind);
        let state = |inside: &Inside| {
            // Before the start handler has run there is no state; the state `()` has no bytes either, and no name.
            let printer = of_kind.as_ref().map(|kind| kind.state);
            (!inside.state.is_empty()).then(|| Shown::bytes(printer, &inside.state, self.chars_max))
        };
        let mut view = StepView {
            at,
            queue: queue.to_string(),
            kind: self.tables.kind_name(*kind).to_string(),
            handler: handler_name(*handler),
            message: message.as_ref().map(|message| self.message(message)),
            state_before: state(before),
            state_after: state(after),
            changed: Vec::new(),
            changed_more: 0,
            changed_note: None,
            asked: asked.iter().map(|wish| self.asked(wish)).collect(),
            asked_more: 0,
            in_debugger: false,
            ended: end_of(end).word(),
            fault: fault(end),
        };
        if let Some(kind) = of_kind {
            self.note_changes(kind.data, before, after, &mut view);
        }
        view
    }

    fn note_changes(&self, data: &Printer, before: &Inside, after: &Inside, view: &mut StepView) {
        let is_any_first = !(self.watched.is_empty() && self.named.is_empty());
        let looked_at = if is_any_first { CHANGES_LOOKED_AT_MAX.max(self.changes_max) } else { self.changes_max };
        let named = words(self.named);
        match data.changes(&before.data, &after.data, looked_at) {
            Ok(mut changes) => {
                changes.parts.sort_by_cached_key(|change| {
                    let path = change.path.to_string();
                    let after = change.after.as_ref().map(|after| Shown::content(after, self.chars_max).text);
                    let of_it = words(&path).into_iter().chain(words(after.as_deref().unwrap_or_default()));
                    let telling = of_it.collect::<BTreeSet<_>>().intersection(&named).count();
                    (!self.is_watched(&path), Reverse(telling))
                });
                changes.more += changes.parts.len().saturating_sub(self.changes_max);
                changes.parts.truncate(self.changes_max);
                let shown = |content: Option<Content>| content.map(|content| Shown::content(&content, self.chars_max));
                let parts = changes.parts.into_iter().map(|change| ChangeView {
                    path: change.path.to_string(),
                    before: shown(change.before),
                    after: shown(change.after),
                });
                view.changed = parts.collect();
                view.changed_more = changes.more;
                view.changed_note =
                    changes.in_secrets_alone.then(|| "something that is secret, and nothing else".to_owned());
            }
            Err(error) => view.changed_note = Some(format!("data that can't be compared by field: {error}")),
        }
    }

    /// True if that field is watched, or a part of one that is.
    fn is_watched(&self, path: &str) -> bool {
        let within = |watched: &String| {
            let behind = path.strip_prefix(watched.as_str());
            behind.is_some_and(|behind| behind.is_empty() || behind.starts_with(['.', '[']))
        };
        self.watched.iter().any(within)
    }

    pub(super) fn message(&self, message: &Message) -> MessageView {
        let (request, beats) = match message.as_what {
            CameAs::Request(request) | CameAs::Outcome(request) => (Some(request.into()), None),
            CameAs::Timer { beats } => (None, Some(Number(beats)).filter(|beats| beats.0 != 0)),
            CameAs::Message | CameAs::News => (None, None),
        };
        MessageView {
            of: self.tables.message_name(message.type_number).to_string(),
            value: Shown::value(&self.tables.message(message.type_number, &message.bytes, self.chars_max)),
            from: message.sender.to_string(),
            came: came_of(message.as_what).word(),
            request,
            beats,
        }
    }

    pub(super) fn asked(&self, wish: &Wish) -> AskedView {
        let mut view = AskedView::default();
        let mut about = |ask, queue: Option<&RawQueueId>, request: Option<&RequestId>| {
            view = AskedView {
                ask,
                queue: queue.map(ToString::to_string),
                request: request.map(|request| (*request).into()),
                ..AskedView::default()
            };
        };
        match &wish.what {
            Ask::Send { to, request: None } => about("send", Some(to), None),
            Ask::Send { to, request } => about("request", Some(to), request.as_ref()),
            Ask::SendSelf => about("send_self", None, None),
            Ask::Reply { to, request } => about("reply", Some(to), Some(request)),
            Ask::Fail { to, request } => about("fail", Some(to), Some(request)),
            Ask::Await { request, .. } => about("await", None, Some(request)),
            Ask::CancelRequest { request } => about("cancel_request", None, Some(request)),
            Ask::SetTimer { .. } => about("set_timer", None, None),
            Ask::CancelTimer { .. } | Ask::CancelNamed { .. } => about("cancel_timer", None, None),
            Ask::Spawn { queue } => about("spawn", Some(queue), None),
            Ask::SpawnOn { request, .. } => about("spawn_on", None, Some(request)),
            Ask::Stop { queue } => about("stop", Some(queue), None),
            Ask::Watch { queue } => about("monitor", Some(queue), None),
            Ask::Unwatch { queue } => about("monitor_no_longer", Some(queue), None),
            Ask::DeadLetters { wanted: true } => about("dead_letters", None, None),
            Ask::DeadLetters { wanted: false } => about("no_dead_letters", None, None),
        }
        match &wish.what {
            Ask::SetTimer { name, deadline, period_ns, .. } => {
                view.timer = Some(timer_name(name));
                view.deadline = Some(Instant(*deadline));
                view.every_ns = period_ns.map(Number);
            }
            Ask::CancelNamed { name } => view.timer = Some(timer_name(name)),
            Ask::Await { deadline, .. } => view.deadline = Some(Instant(*deadline)),
            Ask::SpawnOn { worker, .. } => view.worker = Some(worker.0),
            _ => {}
        }
        if let Some(number) = wish.type_number {
            let is_kind = matches!(wish.what, Ask::Spawn { .. } | Ask::SpawnOn { .. });
            let (of, value) = if is_kind {
                let printer = self.tables.kind(number).map(|kind| kind.data);
                (self.tables.kind_name(number).to_string(), Shown::bytes(printer, &wish.bytes, self.chars_max))
            } else {
                let value = self.tables.message(number, &wish.bytes, self.chars_max);
                (self.tables.message_name(number).to_string(), Shown::value(&value))
            };
            (view.of, view.value) = (Some(of), Some(value));
        }
        view
    }

    pub(super) fn cause(&self, cause: &Cause) -> CauseView {
        let (origin, source, number) = match cause.origin {
            Origin::Step => ("step", None, None),
            Origin::Outside { source, number, .. } => ("outside", Some(source.to_string()), Some(Number(number))),
            Origin::Unknown => ("unknown", None, None),
        };
        CauseView {
            node: None,
            came: None,
            ordinal: Number(cause.ordinal),
            worker: cause.worker.0,
            round: Number(cause.round),
            step: cause.number + 1,
            queue: cause.step.queue.to_string(),
            kind: self.tables.kind_name(cause.step.kind).to_string(),
            handler: handler_name(cause.step.handler),
            message: cause.step.message.as_ref().map(|message| self.message(message)),
            origin,
            source,
            number,
        }
    }

    pub(super) fn state(&self, queue: RawQueueId, kind: u32, inside: &Inside) -> View {
        let printers = self.tables.kind(kind);
        let (data, state) = printers.map_or((None, None), |kind| (Some(kind.data), Some(kind.state)));
        let shown = |printer, bytes: &[u8]| Shown::bytes(printer, bytes, self.chars_max);
        View::State {
            queue: queue.to_string(),
            kind: self.tables.kind_name(kind).to_string(),
            state: (!inside.state.is_empty()).then(|| shown(state, &inside.state)),
            data: shown(data, &inside.data),
        }
    }

    /// What a round was fed with.
    pub(super) fn inputs(&self, own: &Own, log: &RoundLog) -> View {
        let place = Place::worker(log.worker);
        let frames = log.batches.iter().flat_map(|batch| self.frames(own, log, place, batch));
        View::Frames { direction: "inputs", frames: frames.collect(), more: 0 }
    }

    /// What a round put out.
    pub(super) fn outputs(&self, own: &Own, log: &RoundLog) -> View {
        let frames = log.outputs.iter().flat_map(|(place, batch)| self.frames(own, log, *place, batch));
        View::Frames { direction: "outputs", frames: frames.collect(), more: 0 }
    }

    fn frames(&self, own: &Own, log: &RoundLog, place: Place, batch: &Batch) -> Vec<Shown> {
        let batch = batch.as_ref();
        let frames = (batch.first..).zip(batch.frames().map_while(Result::ok));
        let shown = frames.map(|(number, frame)| {
            let what = frame_line(own, self.tables, (self.node, place), &batch, (number, &frame), self.chars_max);
            self.line(log.worker, log.round, what)
        });
        shown.collect()
    }

    /// An FSM of an image with all that waits for it, as far as it is wanted.
    pub(super) fn fsm(&self, image: &ImageView, fsm: FsmView<'_>, is_wanted: impl Fn(&What<'_>) -> bool) -> View {
        let mut lines = Vec::new();
        let options = Options::new().value_chars(self.chars_max);
        let shown = parts(&options, fsm, self.tables, |what| {
            if is_wanted(&what) {
                lines.push(self.line(image.worker(), image.round(), what));
            }
            Ok(())
        });
        shown.expect("taking lines down doesn't fail");
        View::Fsm { lines, more: 0 }
    }

    /// The FSMs of an image, each on a line; those of one kind, if it is given.
    pub(super) fn fsms(&self, image: &ImageView, kind: Option<u32>, after_step: Option<(usize, usize)>) -> View {
        let wanted = image.fsms().filter(|fsm| kind.is_none_or(|kind| fsm.kind() == kind));
        let fsms = wanted.map(|fsm| {
            let of_kind = self.tables.kind(fsm.kind());
            let cell = of_kind.as_ref().and_then(|of_kind| {
                let cell = fsm.cell(of_kind.data, of_kind.state).ok()?;
                Some(Shown::bytes(Some(of_kind.state), cell.state?, self.chars_max))
            });
            FsmRow {
                queue: fsm.queue().to_string(),
                kind: self.tables.kind_name(fsm.kind()).to_string(),
                state: cell,
                waiting: fsm.waiting().count(),
                timers: fsm.timers().count(),
                requests: fsm.requests().count(),
            }
        });
        View::Fsms {
            worker: image.worker().0,
            after_round: Number(image.round()),
            after_step,
            fsms: fsms.collect(),
            more: 0,
        }
    }

    fn line(&self, worker: WorkerId, round: u64, what: What<'_>) -> Shown {
        let line = Line { segment: None, offset: None, worker: Some(worker.0), round: Some(Number(round)), what };
        let json = serde_json::to_string(&line).expect("lines are texts, numbers and what printers write");
        Shown::new(line.to_string().trim().to_owned(), json)
    }

    pub(super) fn kinds(&self) -> View {
        let kinds = self.tables.kinds().map(|(_, kind)| KindView {
            kind: Name(&kind.table.name).to_string(),
            message: self.tables.message_name(kind.table.message).to_string(),
            states: kind.state.outlook(&Path::default()).variants.into_iter().collect(),
        });
        View::Kinds { kinds: kinds.collect() }
    }

    /// The fields of the kind of that name.
    pub(super) fn kind(&self, name: &str) -> Option<View> {
        let (_, kind) = self.tables.kinds().find(|(_, kind)| kind.table.name == name)?;
        let root = Path::default();
        let message = self.tables.message_printer(kind.table.message)?.outlook(&root);
        Some(View::Kind(Box::new(KindFields {
            kind: Name(&kind.table.name).to_string(),
            message: self.tables.message_name(kind.table.message).to_string(),
            variants: message.variants.into_iter().collect(),
            message_fields: message.fields.into_iter().collect(),
            states: kind.state.outlook(&root).variants.into_iter().collect(),
            data_fields: kind.data.outlook(&root).fields.into_iter().collect(),
        })))
    }
}

/// The words and numbers of a text.
fn words(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')));
    words.filter(|word| !word.is_empty()).collect()
}

fn handler_name(handler: Handler) -> &'static str {
    match handler {
        Handler::Start => HandlerIs::Start.word(),
        Handler::Handle => HandlerIs::Handle.word(),
        Handler::Enter => HandlerIs::Enter.word(),
    }
}

fn fault(end: &End) -> Option<String> {
    match end {
        End::Failed(fault @ (FaultKind::Panic(_) | FaultKind::Misuse(_))) => Some(Name(&fault.to_string()).to_string()),
        End::Failed(fault) => Some(fault.to_string()),
        _ => None,
    }
}

fn timer_name(name: &TimerName) -> String {
    match name {
        TimerName::State => "(state timeout)".to_owned(),
        TimerName::Named(name) => Name(name).to_string(),
        TimerName::Unnamed => "(no name)".to_owned(),
    }
}

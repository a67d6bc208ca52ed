//! What a program registers is checked, and where something is missing, the error says what to write where.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that panics has failed")]

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use qnfsm::{
    Codec, ContentHash, Context, DeadLetter, Down, Epoch, External, Fsm, Kinds, Message, Next, NodeBuilder, NodeId,
    Place, QueueId, RawQueueId, Reply, ReplyTo, RequestId, Resource, StartError, Time, Trust, WorkerId, schema::Schema,
    testing::Drive,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Guest;

#[derive(Serialize, Deserialize)]
enum GuestMessage {
    Answer(ReplyTo<u64>),
    Send(QueueId<String>),
    Spawn,
    SpawnOn,
    Watch,
    Ask(QueueId<GuestMessage>),
    Came(Reply<QueueId<()>>),
    Counted(Reply<u64>),
    Gone(Down),
}

impl From<Reply<QueueId<()>>> for GuestMessage {
    fn from(reply: Reply<QueueId<()>>) -> GuestMessage {
        GuestMessage::Came(reply)
    }
}
impl From<Reply<u64>> for GuestMessage {
    fn from(reply: Reply<u64>) -> GuestMessage {
        GuestMessage::Counted(reply)
    }
}
impl From<Down> for GuestMessage {
    fn from(down: Down) -> GuestMessage {
        GuestMessage::Gone(down)
    }
}

impl Fsm for Guest {
    const NAME: &'static str = "guest";
    type State = ();
    type Message = GuestMessage;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), message: GuestMessage, cx: &mut Context<'_, Self>) -> Next<Self> {
        let second = Duration::from_secs(1);
        match message {
            GuestMessage::Answer(reply) => cx.reply(reply, 1),
            GuestMessage::Send(to) => cx.send(to, String::new()),
            GuestMessage::Spawn => {
                cx.spawn(Named::<0>);
            }
            GuestMessage::SpawnOn => {
                cx.spawn_on(cx.worker(), Named::<0>, second);
            }
            GuestMessage::Watch => cx.monitor(cx.id()),
            GuestMessage::Ask(whom) => {
                cx.request(whom, second, GuestMessage::Answer);
            }
            GuestMessage::Came(_) | GuestMessage::Counted(_) | GuestMessage::Gone(_) => {}
        }
        Next::Stay
    }
}

const NAMES: [&str; 5] = ["good", "", " \t", "bell\u{7}", "two\nlines"];

/// An FSM with one of the names.
#[derive(Serialize, Deserialize)]
struct Named<const AT: usize>;

impl<const AT: usize> Fsm for Named<AT> {
    const NAME: &'static str = NAMES[AT];
    type State = ();
    type Message = ();

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), (): (), _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

/// A port with one of the names.
struct Port<const AT: usize>;

impl<const AT: usize> External for Port<AT> {
    const NAME: &'static str = NAMES[AT];
    type Question = ();
    type Answer = ();
}

fn queue<M>(worker: u32) -> QueueId<M> {
    let place = Place::worker(WorkerId(worker));
    QueueId::from_raw(RawQueueId::new(NodeId(0), place, 0, 1))
}

#[track_caller]
fn check_kinds(kinds: Kinds, parts: &[&str]) {
    let text = kinds.seal().unwrap_err().to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[test]
fn a_kinds_name_can_be_read() {
    Kinds::new().with::<Named<0>>().seal().unwrap();
    let kind = std::any::type_name::<Named<1>>();
    check_kinds(Kinds::new().with::<Named<1>>(), &["the NAME \"\" of kind ", kind, "is empty", "give it a word"]);
    check_kinds(Kinds::new().with::<Named<2>>(), &["the NAME \" \\t\"", "is empty"]);
    check_kinds(Kinds::new().with::<Named<3>>(), &["\"bell\\u{7}\"", "control character", "leave that out"]);
    check_kinds(Kinds::new().with::<Named<4>>(), &["\"two\\nlines\"", "control character"]);
}

#[test]
fn a_message_types_name_can_be_read() {
    check_kinds(Kinds::new().message_named::<u64>(""), &["the name \"\" of message type u64 is empty"]);
    check_kinds(Kinds::new().message_named::<u64>("a\0b"), &["\"a\\0b\" of message type u64", "control character"]);
    let twice = Kinds::new().message_named::<u64>("number").message_named::<u32>("number");
    check_kinds(twice, &["two message types are named \"number\": u64 and u32", "with `Kinds::message_named`"]);
}

/// A table with one of the names, whose content the codec may refuse.
struct Atlas<const AT: usize>(Vec<()>);

impl<const AT: usize> Resource for Atlas<AT> {
    const NAME: &'static str = NAMES[AT];

    fn content_hash(&self) -> ContentHash {
        ContentHash::of_value(&self.0)
    }
}

/// Another type by the name of the first.
struct Globe;

impl Resource for Globe {
    const NAME: &'static str = NAMES[0];

    fn content_hash(&self) -> ContentHash {
        ContentHash::of_bytes(&[])
    }
}

#[test]
fn a_resource_has_a_name_of_its_own_and_a_hash() {
    let with = |kinds: Kinds| kinds.resource(Arc::new(Atlas::<0>(vec![])));
    with(Kinds::new()).seal().unwrap();
    let named = Kinds::new().resource(Arc::new(Atlas::<3>(vec![])));
    check_kinds(named, &["the NAME \"bell\\u{7}\" of resource ", "control character"]);
    check_kinds(with(with(Kinds::new())), &["two resources are named \"good\"", "once"]);
    check_kinds(with(Kinds::new().resource(Arc::new(Globe))), &["two resources are named \"good\""]);
    let unhashed = Kinds::new().resource(Arc::new(Atlas::<0>(vec![(); 5000])));
    check_kinds(unhashed, &["resource good can't be hashed: 5000 elements", "`ContentHash::of_bytes`"]);
}

#[track_caller]
fn check_start(node: NodeBuilder, says: &str) {
    match node.start(&Named::<0>).unwrap_err() {
        StartError::Misuse(text) => assert!(text.contains(says), "{text}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_programs_and_a_ports_name_can_be_read() {
    let node = |program: &str| NodeBuilder::new(program, Kinds::new().with::<Named<0>>());
    assert_eq!(node("program").start(&Named::<0>).unwrap().stop().unwrap().epoch, Epoch::FIRST);
    check_start(node(""), "the name \"\" of the program is empty; it stands in the journal");
    check_start(node("a\u{1b}[2J"), "the name \"a\\u{1b}[2J\" of the program contains a control character");
    check_start(node("program").external::<Port<1>>(|()| ()), "the name \"\" of an external port is empty");
}

/// What becomes of a guest's worker when the guest is told that, and its program has registered the guest alone.
#[track_caller]
fn check_misuse(message: GuestMessage, says: &str, adds: &str) {
    let mut drive = Drive::new(Kinds::new().with::<Guest>(), Guest);
    drive.tell(message);
    let text = drive.panicked().unwrap().to_string();
    let end = format!("{says}; add `Kinds::{adds} to the function that names the kinds");
    assert!(text.ends_with(&end), "{text}\n{end}");
}

#[test]
fn what_is_not_registered_is_named_with_what_to_add() {
    let (guest, other) = (std::any::type_name::<GuestMessage>(), std::any::type_name::<Named<0>>());
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(&(queue::<()>(0).raw(), RequestId(1), Time::ZERO), &mut bytes).unwrap();
    let reply = Codec::CURRENT.decode(&bytes, Trust::Node).unwrap();
    check_misuse(
        GuestMessage::Answer(reply),
        "message type u64 is not registered",
        "message::<u64>()`, or the `with`, `accepts` or `replies` of an FSM that takes it,",
    );
    check_misuse(
        GuestMessage::Send(queue(1)),
        "message type alloc::string::String is not registered",
        "message::<alloc::string::String>()`, or the `with`, `accepts` or `replies` of an FSM that takes it,",
    );
    let kind = format!("kind {other} is not registered");
    check_misuse(GuestMessage::Spawn, &kind, &format!("with::<{other}>()`"));
    check_misuse(
        GuestMessage::Watch,
        &format!("message type {guest} is not registered to take qnfsm::message::Down"),
        &format!("accepts::<{guest}, qnfsm::message::Down>()`"),
    );
    check_misuse(
        GuestMessage::Ask(queue(0)),
        &format!("message type {guest} is not registered to take answers of type u64"),
        &format!("replies::<{guest}, u64>()`"),
    );
    let id = "qnfsm::id::QueueId<()>";
    check_misuse(
        GuestMessage::SpawnOn,
        &format!("message type {guest} is not registered to take answers of type {id}"),
        &format!("replies::<{guest}, {id}>()`"),
    );
}

/// Two types of one name, which can't be told apart in one message.
mod reading {
    pub(crate) mod metric {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(crate) struct Height(u32);
    }
    pub(crate) mod imperial {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(crate) struct Height {
            pub(crate) feet: u8,
            pub(crate) inches: u8,
        }
    }
    pub(crate) mod swapped {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(crate) struct Height {
            pub(crate) inches: u8,
            pub(crate) feet: u8,
        }
    }

    pub(crate) mod before {
        use super::{imperial, metric};
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(crate) struct Reading(metric::Height, imperial::Height);
    }
    pub(crate) mod after {
        use super::{metric, swapped};
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(crate) struct Reading(metric::Height, swapped::Height);
    }
}

/// An FSM that takes messages of an opaque type.
#[derive(Serialize, Deserialize)]
struct Gauge<M>(PhantomData<fn(M)>);

impl<M: Message> Fsm for Gauge<M> {
    const NAME: &'static str = "gauge";
    type State = ();
    type Message = M;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), _: M, _: &mut Context<'_, Self>) -> Next<Self> {
        Next::Stay
    }
}

fn gauges<M: Message>() -> Kinds {
    Kinds::new().with::<Gauge<M>>().message_named::<M>("reading")
}

/// Keeps the texts of warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

/// One test at a time that is warned: whether a warning is heard is settled for all threads by the one that gives it first.
static ALONE: Mutex<()> = Mutex::new(());

impl tracing::Subscriber for Warnings {
    fn enabled(&self, of: &tracing::Metadata<'_>) -> bool {
        *of.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(String);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn each_opaque_type_is_listed_and_warned_of_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let warnings = Arc::new(Warnings::default());
    let catalogue =
        tracing::subscriber::with_default(warnings.clone(), || gauges::<reading::before::Reading>().seal().unwrap());
    let opaque: Vec<_> = catalogue.opaque().collect();
    let [(of, why)] = &opaque[..] else { panic!("{opaque:?}") };
    assert_eq!(of, "message type reading");
    assert!(why.contains("serde(rename"), "{why}");
    let warnings = warnings.0.lock().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("of=message type reading why=two types within it"), "{warnings:?}");
}

#[test]
fn replies_of_several_types_leave_nothing_opaque() {
    let kinds = Kinds::new().with::<Guest>().replies::<GuestMessage, QueueId<()>>().replies::<GuestMessage, u64>();
    let catalogue = kinds.seal().unwrap();
    assert_eq!(catalogue.opaque().collect::<Vec<_>>(), []);
}

#[test]
fn an_opaque_type_that_was_changed_is_told_from_what_it_was() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let [before, after] = [gauges::<reading::before::Reading>(), gauges::<reading::after::Reading>()].map(Kinds::seal);
    let (before, after) = (before.unwrap(), after.unwrap());
    assert_eq!(before.table().differences(after.table()), ["message type reading has other fields"]);
    assert!(before.table().differences(before.table()).is_empty());
}

/// The schema of a library's type, which stands in the schemas of all users' types that hold it.
fn json<T: Message>() -> String {
    Schema::of::<T>(&[]).unwrap().json().to_owned()
}

/// Old bytes of users' messages hold these types too. A field more can't be read there, and a variant more, which may come behind the
/// others only, changes the hash of each message type that holds it: see "How to add" in CONTRIBUTING.md before this is changed.
#[test]
fn the_library_s_types_that_users_messages_hold_are_as_they_were() {
    let shapes = [
        (
            json::<Down>(),
            concat!(
                r#"{"root":{"TYPENAME":"Down"},"types":{"Down":{"STRUCT":[{"queue":{"TYPENAME":"QueueId"}},"#,
                r#"{"reason":{"TYPENAME":"DownReason"}}]},"DownReason":{"ENUM":{"0":{"Stopped":"UNIT"},"#,
                r#""1":{"Panicked":"UNIT"},"2":{"Unknown":"UNIT"},"3":{"Closed":{"NEWTYPE":"STR"}},"#,
                r#""4":{"Restarted":"UNIT"},"5":{"Unreachable":"UNIT"},"6":{"Poisoned":"UNIT"}}},"#,
                r#""QueueId":{"NEWTYPESTRUCT":{"TUPLEARRAY":{"CONTENT":"U32","SIZE":4}}}}}"#,
            ),
        ),
        (
            json::<DeadLetter>(),
            concat!(
                r#"{"root":{"TYPENAME":"DeadLetter"},"#,
                r#""types":{"DeadLetter":{"STRUCT":[{"to":{"TYPENAME":"QueueId"}},"#,
                r#"{"from":{"TYPENAME":"QueueId"}},{"type_number":"U32"},"#,
                r#"{"why":{"TYPENAME":"Undelivered"}}]},"#,
                r#""QueueId":{"NEWTYPESTRUCT":{"TUPLEARRAY":{"CONTENT":"U32","SIZE":4}}},"#,
                r#""Undelivered":{"ENUM":{"0":{"NoSuchQueue":"UNIT"},"1":{"Full":"UNIT"},"#,
                r#""2":{"NotAccepted":"UNIT"},"3":{"NotUnderstood":"UNIT"},"4":{"TooLate":"UNIT"},"#,
                r#""5":{"Unhandled":"UNIT"},"6":{"ReceiverStopped":"UNIT"},"7":{"PostponedTooMany":"UNIT"},"#,
                r#""8":{"NotEncodable":"UNIT"},"9":{"TooManyFsms":"UNIT"},"10":{"Skipped":"UNIT"}}}}}"#,
            ),
        ),
        (
            json::<Reply<u8>>(),
            concat!(
                r#"{"root":{"TYPENAME":"Reply"},"types":{"NoReply":{"ENUM":{"0":{"Expired":"UNIT"},"#,
                r#""1":{"Gone":"UNIT"},"2":{"Full":"UNIT"},"3":{"Interrupted":"UNIT"},"#,
                r#""4":{"NotUnderstood":"UNIT"},"5":{"Failed":"UNIT"}}},"#,
                r#""Reply":{"STRUCT":[{"request":{"TYPENAME":"RequestId"}},"#,
                r#"{"outcome":{"TYPENAME":"Result"}}]},"RequestId":{"NEWTYPESTRUCT":"U64"},"#,
                r#""Result":{"ENUM":{"0":{"Ok":{"NEWTYPE":"U8"}},"#,
                r#""1":{"Err":{"NEWTYPE":{"TYPENAME":"NoReply"}}}}}}}"#,
            ),
        ),
        (
            json::<ReplyTo<u8>>(),
            concat!(
                r#"{"root":{"TYPENAME":"ReplyTo"},"types":{"PhantomData":"UNITSTRUCT","#,
                r#""QueueId":{"NEWTYPESTRUCT":{"TUPLEARRAY":{"CONTENT":"U32","SIZE":4}}},"#,
                r#""ReplyTo":{"STRUCT":[{"queue":{"TYPENAME":"QueueId"}},"#,
                r#"{"request":{"TYPENAME":"RequestId"}},{"deadline":{"TYPENAME":"Time"}},"#,
                r#"{"answer":{"TYPENAME":"PhantomData"}}]},"RequestId":{"NEWTYPESTRUCT":"U64"},"#,
                r#""Time":{"NEWTYPESTRUCT":"U64"}}}"#,
            ),
        ),
        (
            json::<QueueId<u8>>(),
            concat!(
                r#"{"root":{"TYPENAME":"QueueId"},"#,
                r#""types":{"QueueId":{"NEWTYPESTRUCT":{"TUPLEARRAY":{"CONTENT":"U32","SIZE":4}}}}}"#,
            ),
        ),
        (json::<WorkerId>(), r#"{"root":{"TYPENAME":"WorkerId"},"types":{"WorkerId":{"NEWTYPESTRUCT":"U32"}}}"#),
        (
            json::<qnfsm::Secret<u8>>(),
            r#"{"root":{"TYPENAME":"qnfsm::Secret"},"types":{"qnfsm::Secret":{"NEWTYPESTRUCT":"U8"}}}"#,
        ),
    ];
    for (shape, expected) in shapes {
        assert_eq!(shape, expected);
    }
}

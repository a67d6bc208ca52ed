//! A program whose types have changed starts where one of before was stopped: FSMs, their states, what waits for them and requests
//! that are under way come through the user's upgrade functions, and what can't come is named.

use std::{path::Path, sync::mpsc, time::Duration};

use qnfsm::{
    Kinds, Node, NodeBuilder, OldFsm, OldMessage, OnOtherBuild, QueueId, Reply, ReplyTo, StartError, Unanswered,
    UpgradeError,
    journal::{Reader, Record, snapshots},
    playback::{Beginning, Playback, Progress},
};
use serde::{Deserialize, Serialize};

use crate::{
    durable::until,
    files::Memory,
    probe::{DIR, PATIENCE},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Both versions' answer to what an account holds.
type Cents = i64;

/// The program as it was.
mod before {
    use qnfsm::{Context, Fsm, Next};

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) enum Hours {
        Closed,
        Open,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(super) struct Account {
        pub(super) euros: i32,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) enum Order {
        Open,
        Pay { euros: i32 },
        Lend { service: QueueId<Loan> },
        Lent(Reply<i32>),
        Ask(ReplyTo<Cents>),
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Loan {
        pub(super) euros: i32,
        pub(super) reply: ReplyTo<i32>,
    }

    impl From<Reply<i32>> for Order {
        fn from(reply: Reply<i32>) -> Order {
            Order::Lent(reply)
        }
    }

    impl Fsm for Account {
        const NAME: &'static str = "account";
        type State = Hours;
        type Message = Order;

        fn start(&mut self, cx: &mut Context<'_, Account>) -> Hours {
            cx.every("interest", HOUR, Order::Pay { euros: 2 });
            Hours::Closed
        }

        fn handle(&mut self, hours: Hours, order: Order, cx: &mut Context<'_, Account>) -> Next<Account> {
            match order {
                Order::Open => return Next::Goto(Hours::Open),
                pay @ Order::Pay { .. } if hours == Hours::Closed => return Next::Postpone(pay),
                Order::Pay { euros } => self.euros += euros,
                Order::Lend { service } => {
                    cx.request(service, HOUR, |reply| Loan { euros: 50, reply });
                }
                Order::Lent(reply) => self.euros += reply.outcome.unwrap(),
                Order::Ask(reply) => cx.reply(reply, i64::from(self.euros) * 100),
            }
            Next::Stay
        }
    }

    pub(super) fn kinds() -> Kinds {
        Kinds::new()
            .message_named::<Order>("order")
            .message_named::<Loan>("loan")
            .with::<Account>()
            .replies::<Order, i32>()
            .message::<Cents>()
    }
}

/// The program as it is: amounts in cents, an account that can be frozen, other numbers of types.
mod now {
    use qnfsm::{Context, Fsm, Next};

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) enum Hours {
        Frozen,
        Closed,
        Open,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(super) struct Account {
        pub(super) cents: i64,
        pub(super) note: String,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) enum Order {
        Freeze,
        Open,
        Pay { cents: i64 },
        Lend { service: QueueId<Loan> },
        Lent(Reply<i32>),
        Ask(ReplyTo<Cents>),
        Note(ReplyTo<String>),
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Loan {
        pub(super) cents: i64,
        pub(super) reply: ReplyTo<i32>,
    }

    impl From<Reply<i32>> for Order {
        fn from(reply: Reply<i32>) -> Order {
            Order::Lent(reply)
        }
    }

    impl Fsm for Account {
        const NAME: &'static str = "account";
        const VERSION: u32 = 2;
        type State = Hours;
        type Message = Order;

        fn upgrade(old: OldFsm<'_>) -> Result<(Account, Option<Hours>), UpgradeError> {
            match old.version() {
                1 => {
                    let (before::Account { euros }, hours) = old.read()?;
                    let hours = hours.map(|hours| match hours {
                        before::Hours::Closed => Hours::Closed,
                        before::Hours::Open => Hours::Open,
                    });
                    Ok((Account { cents: i64::from(euros) * 100, note: "from version 1".to_owned() }, hours))
                }
                _ => Err(old.unknown()),
            }
        }

        fn start(&mut self, _: &mut Context<'_, Account>) -> Hours {
            Hours::Closed
        }

        fn handle(&mut self, hours: Hours, order: Order, cx: &mut Context<'_, Account>) -> Next<Account> {
            match order {
                Order::Freeze => return Next::Goto(Hours::Frozen),
                Order::Open => return Next::Goto(Hours::Open),
                pay @ Order::Pay { .. } if hours != Hours::Open => return Next::Postpone(pay),
                Order::Pay { cents } => self.cents += cents,
                Order::Lend { service } => {
                    cx.request(service, HOUR, |reply| Loan { cents: 5000, reply });
                }
                // Who is not told whether it has a loan pays a fee.
                Order::Lent(reply) => self.cents += reply.outcome.map_or(-1, |euros| i64::from(euros) * 100),
                Order::Ask(reply) => cx.reply(reply, self.cents),
                Order::Note(reply) => cx.reply(reply, self.note.clone()),
            }
            Next::Stay
        }
    }

    pub(super) fn order(old: OldMessage<'_>) -> Result<Order, UpgradeError> {
        Ok(match old.read()? {
            before::Order::Open => Order::Open,
            before::Order::Pay { euros } => Order::Pay { cents: i64::from(euros) * 100 },
            before::Order::Lend { service } => Order::Lend { service: QueueId::from_raw(service.raw()) },
            before::Order::Lent(reply) => Order::Lent(reply),
            before::Order::Ask(reply) => Order::Ask(reply),
        })
    }

    pub(super) fn loan(old: OldMessage<'_>) -> Result<Loan, UpgradeError> {
        let before::Loan { euros, reply } = old.read()?;
        Ok(Loan { cents: i64::from(euros) * 100, reply })
    }

    pub(super) fn without_loans() -> Kinds {
        let kinds = Kinds::new().message::<Cents>().message::<String>().message_named::<Order>("order");
        kinds.with::<Account>().message_version::<Order>(2, order)
    }

    pub(super) fn without_messages() -> Kinds {
        Kinds::new()
            .message::<Cents>()
            .message::<String>()
            .message_named::<Loan>("loan")
            .message_named::<Order>("order")
            .with::<Account>()
            .replies::<Order, i32>()
    }

    pub(super) fn kinds() -> Kinds {
        without_messages().message_version::<Order>(2, order).message_version::<Loan>(2, loan)
    }
}

fn builder(disk: &Memory, kinds: Kinds) -> NodeBuilder {
    NodeBuilder::new("bank", kinds).dir(DIR).storage(disk.storage()).seed(1)
}

fn start_before(disk: &Memory) -> Node<before::Order> {
    // The service never answers, so its request stays under way.
    let mut builder = builder(disk, before::kinds());
    let service = builder.service::<before::Loan>(1, Unanswered::SentAgain, |_, _| {});
    let node = builder.start(&before::Account::default()).unwrap();
    node.host().send(node.root(), &before::Order::Pay { euros: 3 }).unwrap();
    node.host().send(node.root(), &before::Order::Lend { service }).unwrap();
    assert_eq!(node.host().request(node.root(), PATIENCE, before::Order::Ask).unwrap(), 0);
    node
}

/// Starts the program as it is, whose service answers with 7 euros, and says what it was asked.
fn start_now(disk: &Memory) -> (Node<now::Order>, mpsc::Receiver<i64>) {
    let (asked, asks) = mpsc::channel();
    let mut builder = builder(disk, now::kinds());
    builder.service::<now::Loan>(1, Unanswered::SentAgain, move |loan, replier| {
        // Not every test looks at it.
        let _ = asked.send(loan.cents);
        replier.reply(&loan.reply, &7);
    });
    (builder.start(&now::Account::default()).unwrap(), asks)
}

fn cents(node: &Node<now::Order>) -> i64 {
    node.host().request(node.root(), PATIENCE, now::Order::Ask).unwrap()
}

/// Plays back what this version recorded; gives how many rounds were passed over, and how many of its own for want of a snapshot.
fn replay(disk: &Memory, own_from: u64) -> (u64, u64) {
    let (storage, dir) = (disk.storage(), Path::new(DIR));
    let mut reader = Reader::open(storage.clone(), dir).unwrap();
    let (manifest, catalogue) = (reader.manifest().clone(), now::kinds().seal().unwrap());
    let beginning = Beginning::of(storage, dir, &manifest);
    let mut playback = Playback::new(catalogue, manifest.node).checking_images().beginning(Some(beginning));
    while let Some(entry) = reader.next().unwrap() {
        playback.is_of_another_version(entry.position.segment < own_from);
        playback.apply(&entry.record, &mut ()).unwrap();
    }
    playback.finish(&mut ()).unwrap();
    assert_eq!(playback.workers().count(), 1);
    let Progress { rounds_passed_over, rounds_not_begun, .. } = playback.progress();
    (rounds_passed_over, rounds_not_begun)
}

#[test]
fn a_new_version_goes_on_with_all_that_an_old_one_left() {
    let disk = Memory::default();
    start_before(&disk).stop().unwrap();
    let (node, asks) = start_now(&disk);
    assert_eq!(asks.recv_timeout(PATIENCE), Ok(5000), "the request under way, in the new form");
    node.host().send(node.root(), &now::Order::Open).unwrap();
    let note = node.host().request(node.root(), PATIENCE, now::Order::Note).unwrap();
    assert_eq!(note, "from version 1");
    until("the loan doesn't come", || cents(&node) == 1000);
    let killed = disk.crash();
    node.stop().unwrap();
    // It comes back as what it is now: from the snapshot that the old version made, after a kill, and from its own.
    for disk in [killed, disk] {
        let (node, _) = start_now(&disk);
        assert_eq!(cents(&node), 1000);
        node.stop().unwrap();
        let (passed_over, not_begun) = replay(&disk, 2);
        assert!(passed_over > 0 && not_begun == 0, "rounds of the old version are passed over");
        // Where the old version's snapshot is gone, a replay begins with the first of its own.
        let (worker, round) = snapshots::list(&*disk.storage(), Path::new(DIR)).unwrap()[0];
        assert_eq!(disk.remove_all(&snapshots::path(Path::new(DIR), worker, round)), 1);
        let (still, not_begun) = replay(&disk, 2);
        assert!(still == passed_over && not_begun > 0);
    }
}

#[test]
fn a_resting_worker_is_carried_over_at_each_start_until_it_has_a_snapshot_of_its_own() {
    let disk = Memory::default();
    start_before(&disk).stop().unwrap();
    for _ in 0..3 {
        let mut builder = builder(&disk, now::kinds());
        builder.service::<now::Loan>(1, Unanswered::SentAgain, |_, _| {});
        builder.start(&now::Account::default()).unwrap().stop().unwrap();
    }
    let (node, _) = start_now(&disk);
    node.host().send(node.root(), &now::Order::Open).unwrap();
    until("the loan doesn't come", || cents(&node) == 1000);
    node.stop().unwrap();
}

#[test]
fn rounds_that_an_old_version_recorded_are_not_run_by_a_new_one() {
    let disk = Memory::default();
    let node = start_before(&disk);
    let killed = disk.crash();
    node.stop().unwrap();
    match builder(&killed, now::kinds()).start(&now::Account::default()).unwrap_err() {
        StartError::Changed { worker, round, differences, refused, .. } => {
            assert_eq!((worker.0, round), (0, 1));
            assert!(differences.iter().any(|what| what == "kind account has version 2 and had 1"), "{differences:?}");
            assert!(refused.is_empty(), "{refused:?}");
        }
        other => panic!("{other}"),
    }
    // Nothing has changed by that.
    let node = {
        let mut builder = builder(&killed, before::kinds());
        builder.service::<before::Loan>(1, Unanswered::SentAgain, |_, _| {});
        builder.start(&before::Account::default()).unwrap()
    };
    node.host().send(node.root(), &before::Order::Open).unwrap();
    assert_eq!(node.host().request(node.root(), PATIENCE, before::Order::Ask).unwrap(), 300);
    node.stop().unwrap();
}

#[test]
fn a_start_that_lacks_a_snapshot_says_so_and_not_that_there_was_no_clean_stop() {
    let disk = Memory::default();
    start_before(&disk).stop().unwrap();
    let (worker, round) = *snapshots::list(&*disk.storage(), Path::new(DIR)).unwrap().last().unwrap();
    assert_eq!(disk.remove_all(&snapshots::path(Path::new(DIR), worker, round)), 1);
    let changed = builder(&disk.crash(), now::kinds()).start(&now::Account::default()).map(drop).unwrap_err();
    assert!(matches!(&changed, StartError::Changed { refused, .. } if refused.len() == 1), "{changed}");
    let other = builder(&disk, before::kinds()).build(2, 100).start(&before::Account::default()).map(drop);
    let other = other.unwrap_err();
    assert!(matches!(&other, StartError::OtherBuild { refused, .. } if refused.len() == 1), "{other}");
    for text in [changed.to_string(), other.to_string()] {
        assert!(text.contains(".qsn") && text.contains("put back from a copy"), "{text}");
        assert!(!text.contains("cleanly"), "{text}");
    }
}

#[test]
fn an_upgrade_that_panics_keeps_the_node_from_starting_and_is_named() {
    let disk = Memory::default();
    start_before(&disk).stop().unwrap();
    let panics = |_: OldMessage<'_>| -> Result<now::Order, UpgradeError> { panic!("which currency?") };
    let kinds = now::without_messages().message_version(2, panics);
    let error = builder(&disk, kinds).start(&now::Account::default()).map(drop).unwrap_err();
    assert!(matches!(error, StartError::Left { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("a message that waits for w0/0.1 of kind account: `upgrade` panicked: which currency?"),
        "{text}"
    );
}

#[test]
fn what_nobody_can_carry_over_keeps_the_node_from_starting_and_is_named() {
    let disk = Memory::default();
    start_before(&disk).stop().unwrap();
    let why = |kinds| {
        let mut builder = builder(&disk.crash(), kinds);
        builder.service::<now::Loan>(1, Unanswered::SentAgain, |_, _| {});
        let error = builder.start(&now::Account::default()).unwrap_err();
        assert!(matches!(error, StartError::Left { .. }), "{error}");
        error.to_string()
    };
    // The message types have other fields, and nobody says how to read the old ones.
    let text = why(now::without_messages());
    assert!(
        text.contains(
            "a message that waits for w0/0.1 of kind account: its fields changed, and its version is 1 still"
        ),
        "{text}"
    );
    let text = why(now::without_messages().message_version::<now::Order>(2, now::order));
    assert!(text.contains("a frame under way from w0/0.1: its fields changed"), "{text}");
    let refuses =
        |old: OldMessage<'_>| Err::<now::Loan, _>(UpgradeError::Refused(format!("loans of version {}", old.version())));
    let text = why(now::without_messages().message_version::<now::Order>(2, now::order).message_version(3, refuses));
    assert!(text.contains("a frame under way from w0/0.1: loans of version 1"), "{text}");
    // And an older version doesn't read what a newer one left.
    let (node, _) = start_now(&disk);
    node.stop().unwrap();
    let error = builder(&disk, before::kinds()).start(&before::Account::default()).unwrap_err().to_string();
    assert!(error.contains("of kind account: version 2 wrote it, and this program has version 1"), "{error}");
}

#[test]
fn a_request_that_is_interrupted_need_not_be_carried_over() {
    let disk = Memory::default();
    start_before(&disk).stop().unwrap();
    // Nobody says how loans are upgraded; and then there is neither their service nor their type.
    let interrupted = {
        let kinds = now::without_messages().message_version::<now::Order>(2, now::order);
        let mut builder = builder(&disk.crash(), kinds);
        builder.service::<now::Loan>(1, Unanswered::Interrupted, |_, _| {});
        builder
    };
    let gone = builder(&disk.crash(), now::without_loans().replies::<now::Order, i32>());
    for builder in [interrupted, gone] {
        let node = builder.start(&now::Account::default()).unwrap();
        until("it isn't told", || cents(&node) == -1);
        node.stop().unwrap();
    }
}

#[test]
fn an_answer_that_is_waited_for_has_to_be_taken_by_the_new_build_too() {
    let disk = Memory::default();
    start_before(&disk).stop().unwrap();
    let without = Kinds::new().message_named::<before::Order>("order").message_named::<before::Loan>("loan");
    // The same types as in the build that wrote it, and other ones.
    let same_types = without.with::<before::Account>().message::<i32>().message::<Cents>();
    let same = builder(&disk.crash(), same_types).build(2, 100).start(&before::Account::default()).map(drop);
    let other = builder(&disk.crash(), now::without_loans()).start(&now::Account::default()).map(drop);
    for started in [same, other] {
        let error = started.unwrap_err();
        assert!(matches!(error, StartError::Left { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("of w0 this can't be carried over: w0/0.1 of kind account: it waits for"), "{text}");
        assert!(text.contains("of type i32,") && text.contains("`Kinds::replies`"), "{text}");
    }
}

#[test]
fn rounds_of_another_build_are_run_only_when_that_is_allowed() {
    let disk = Memory::default();
    let start = |disk: &Memory, build, on_other_build| {
        let mut builder = builder(disk, before::kinds()).build(build, 100).on_other_build(on_other_build);
        builder.service::<before::Loan>(1, Unanswered::SentAgain, |_, _| {});
        builder.start(&before::Account::default()).map_err(Box::new)
    };
    let node = start(&disk, 1, OnOtherBuild::Refuse).unwrap();
    node.host().send(node.root(), &before::Order::Open).unwrap();
    node.host().send(node.root(), &before::Order::Pay { euros: 3 }).unwrap();
    let euros =
        |node: &Node<before::Order>| node.host().request(node.root(), PATIENCE, before::Order::Ask).unwrap() / 100;
    assert_eq!(euros(&node), 3);
    let killed = disk.crash();
    node.stop().unwrap();
    match *start(&killed, 2, OnOtherBuild::Refuse).unwrap_err() {
        StartError::OtherBuild { worker, round, build, build_bytes, .. } => {
            assert_eq!((worker.0, round, build, build_bytes), (0, 1, 1, 100));
        }
        other => panic!("{other}"),
    }
    let last = crate::probe::records(killed.crash().storage(), |record, _| match record {
        Record::Round { round, .. } => Some(*round),
        _ => None,
    });
    let node = start(&killed, 2, OnOtherBuild::Run).unwrap();
    assert_eq!(euros(&node), 3);
    // Its answer was told; whether this build would have told the same isn't known.
    let [anew] = node.ran_anew() else { panic!("{:?}", node.ran_anew()) };
    assert_eq!((anew.worker.0, Some(&anew.round), anew.may_have_left), (0, last.last(), true));
    assert!(anew.to_string().contains("have left the node; if that was something else, it is given up"), "{anew}");
    // What it has run once is not to be run again, whatever happens.
    let killed_again = killed.crash();
    node.stop().unwrap();
    let again = start(&killed_again, 2, OnOtherBuild::Refuse).unwrap();
    assert_eq!(euros(&again), 3);
    assert_eq!(again.ran_anew(), []);
    again.stop().unwrap();
    // Behind a clean stop there is nothing of another build to be run.
    for disk in [disk, killed] {
        let node = start(&disk, 3, OnOtherBuild::Refuse).unwrap();
        assert_eq!(euros(&node), 3);
        node.stop().unwrap();
    }
}

/// The program at a version of its discount; at 0 it has none yet.
fn till<const VERSION: u32>() -> (Kinds, Till<VERSION>) {
    (Kinds::new().with::<Till<VERSION>>().message_named::<Sale>("sale").message::<u64>(), Till { cents: 0 })
}

#[derive(Debug, Serialize, Deserialize)]
struct Till<const VERSION: u32> {
    cents: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sale {
    cents: u64,
    reply: ReplyTo<u64>,
}

impl<const VERSION: u32> qnfsm::Fsm for Till<VERSION> {
    const NAME: &'static str = "till";
    type State = ();
    type Message = Sale;

    fn start(&mut self, _: &mut qnfsm::Context<'_, Self>) {}

    fn handle(&mut self, (): (), sale: Sale, cx: &mut qnfsm::Context<'_, Self>) -> qnfsm::Next<Self> {
        let version = if VERSION == 0 { 0 } else { cx.version("discount", VERSION) };
        self.cents += sale.cents - sale.cents * u64::from(version) / 10;
        cx.reply(sale.reply, self.cents);
        qnfsm::Next::Stay
    }
}

fn open_till<const VERSION: u32>(disk: &Memory) -> Node<Sale> {
    let (kinds, till) = till::<VERSION>();
    builder(disk, kinds).build(u64::from(VERSION), 1).on_other_build(OnOtherBuild::Run).start(&till).unwrap()
}

fn sell(node: &Node<Sale>, cents: u64) -> u64 {
    node.host().request(node.root(), PATIENCE, |reply| Sale { cents, reply }).unwrap()
}

/// Which versions are recorded, in order.
fn versions(disk: &Memory) -> Vec<u32> {
    crate::probe::records(disk.crash().storage(), |record, _| match record {
        Record::Version { name: "discount", version, .. } => Some(*version),
        _ => None,
    })
}

#[test]
fn what_was_recorded_before_a_change_of_behaviour_is_played_back_the_old_way() {
    let disk = Memory::default();
    let node = open_till::<0>(&disk);
    assert_eq!((sell(&node, 100), sell(&node, 100)), (100, 200));
    // Killed each time, so that all of it has to be run again.
    let disk = disk.crash();
    node.stop().unwrap();
    let node = open_till::<1>(&disk);
    assert_eq!((sell(&node, 100), sell(&node, 100), versions(&disk)), (290, 380, vec![1]));
    let disk = disk.crash();
    node.stop().unwrap();
    let node = open_till::<2>(&disk);
    assert_eq!((sell(&node, 100), versions(&disk)), (460, vec![1, 2]));
    let disk = disk.crash();
    node.stop().unwrap();
    let node = open_till::<2>(&disk);
    assert_eq!((sell(&node, 100), versions(&disk)), (540, vec![1, 2]), "it is recorded once");
    node.stop().unwrap();
    // From a snapshot it goes on with what it used, and all of it replays.
    let node = open_till::<2>(&disk);
    assert_eq!((sell(&node, 100), versions(&disk)), (620, vec![1, 2]));
    node.stop().unwrap();
    crate::ring::replay(&disk.storage(), Path::new(DIR), till::<2>().0);
    // A build of before has used another one; that shows.
    let replayed = std::panic::catch_unwind(|| crate::ring::replay(&disk.storage(), Path::new(DIR), till::<0>().0));
    assert!(replayed.is_err());
}

macro_rules! port {
    ($name:ident, $text:literal) => {
        struct $name;
        impl qnfsm::External for $name {
            const NAME: &'static str = $text;
            type Question = ();
            type Answer = u64;
        }
    };
}

port!(Rate, "rate");
port!(Fee, "fee");

/// Builds that read other ports for a quote.
const PANICS: u32 = 1;
const READS_FEE: u32 = 2;
const READS_FEE_AND_PANICS: u32 = 3;
const READS_NOTHING: u32 = 4;
const READS_RATE: u32 = 5;

#[derive(Debug, Serialize, Deserialize)]
struct Quotes<const BUILD: u32> {
    last: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Quote {
    Make,
    Last(ReplyTo<u64>),
}

impl<const BUILD: u32> qnfsm::Fsm for Quotes<BUILD> {
    const NAME: &'static str = "quotes";
    type State = ();
    type Message = Quote;

    fn start(&mut self, _: &mut qnfsm::Context<'_, Self>) {}

    fn handle(&mut self, (): (), quote: Quote, cx: &mut qnfsm::Context<'_, Self>) -> qnfsm::Next<Self> {
        match quote {
            Quote::Make => {
                self.last = match BUILD {
                    PANICS | READS_RATE => cx.external::<Rate>(&()),
                    READS_NOTHING => 1,
                    _ => cx.external::<Fee>(&()) + cx.external::<Rate>(&()),
                };
                assert!(BUILD != PANICS && BUILD != READS_FEE_AND_PANICS, "no quote");
            }
            Quote::Last(reply) => cx.reply(reply, self.last),
        }
        qnfsm::Next::Stay
    }
}

fn quotes<const BUILD: u32>() -> Kinds {
    Kinds::new().with::<Quotes<BUILD>>().message_named::<Quote>("quote").message::<u64>()
}

/// The rate is told as it is at that start.
fn start_quotes<const BUILD: u32>(disk: &Memory, build: u32, rate: u64) -> Result<Node<Quote>, Box<StartError>> {
    let builder = builder(disk, quotes::<BUILD>()).build(u64::from(build), 1).on_other_build(OnOtherBuild::Run);
    let builder = builder.external::<Rate>(move |()| rate).external::<Fee>(|()| 100);
    builder.start(&Quotes::<BUILD> { last: 0 }).map_err(Box::new)
}

fn last_quote(node: &Node<Quote>) -> u64 {
    node.host().request(node.root(), PATIENCE, Quote::Last).unwrap()
}

/// What is left by a build that has read the rate, which was 7, and panicked.
fn no_quote() -> Memory {
    let disk = Memory::default();
    let node = start_quotes::<PANICS>(&disk, PANICS, 7).unwrap();
    node.host().send(node.root(), &Quote::Make).unwrap();
    assert!(node.wait().is_err());
    disk
}

/// The round that panicked, given up in what the node says.
fn given_up(node: &Node<Quote>) -> (bool, Vec<String>) {
    let [anew] = node.ran_anew() else { panic!("{:?}", node.ran_anew()) };
    (anew.may_have_left, anew.given_up.clone())
}

#[test]
fn a_mended_handler_may_ask_the_world_for_something_else_than_the_one_that_panicked() {
    let disk = no_quote();
    let rate = vec!["a value read through port rate".to_owned()];
    let node = start_quotes::<READS_FEE>(&disk, READS_FEE, 20).unwrap();
    assert_eq!((last_quote(&node), given_up(&node)), (120, (false, rate.clone())));
    // It replays with and without the snapshot that was made at once, and comes back without.
    let killed = disk.crash();
    node.stop().unwrap();
    crate::ring::replay(&killed.storage(), Path::new(DIR), quotes::<READS_FEE>());
    assert!(killed.remove_all(&Path::new(DIR).join("snapshots")) > 0);
    let again = start_quotes::<READS_FEE>(&killed, READS_FEE, 30).unwrap();
    assert_eq!(last_quote(&again), 120);
    again.stop().unwrap();
    crate::ring::replay(&killed.storage(), Path::new(DIR), quotes::<READS_FEE>());

    let disk = no_quote();
    let node = start_quotes::<READS_NOTHING>(&disk, READS_NOTHING, 20).unwrap();
    assert_eq!((last_quote(&node), given_up(&node)), (1, (false, rate)));
    node.stop().unwrap();
    crate::ring::replay(&disk.storage(), Path::new(DIR), quotes::<READS_NOTHING>());

    // What is asked for again is told as it was.
    let disk = no_quote();
    let node = start_quotes::<READS_RATE>(&disk, READS_RATE, 20).unwrap();
    assert_eq!((last_quote(&node), given_up(&node)), (7, (false, vec![])));
    node.stop().unwrap();
}

#[test]
fn what_a_build_was_told_is_there_for_it_until_another_one_ends_the_round() {
    let disk = no_quote();
    let error = start_quotes::<READS_FEE_AND_PANICS>(&disk, READS_FEE_AND_PANICS, 20).unwrap_err();
    assert!(matches!(*error, StartError::Fault(_)), "{error}");
    let node = start_quotes::<READS_RATE>(&disk, PANICS, 30).unwrap();
    assert_eq!((last_quote(&node), node.ran_anew().len()), (7, 0));
    node.stop().unwrap();
}

#[test]
fn a_round_that_may_have_ended_is_not_run_with_other_values_from_outside() {
    let disk = Memory::default();
    let node = start_quotes::<READS_RATE>(&disk, READS_RATE, 7).unwrap();
    node.host().send(node.root(), &Quote::Make).unwrap();
    until("there is no quote", || {
        !crate::probe::records(disk.crash().storage(), |record, _| {
            matches!(record, Record::External { .. }).then_some(())
        })
        .is_empty()
    });
    let killed = disk.crash();
    node.stop().unwrap();
    let error = start_quotes::<READS_FEE>(&killed, READS_FEE, 20).unwrap_err();
    assert!(matches!(*error, StartError::Playback { .. }), "{error}");
}

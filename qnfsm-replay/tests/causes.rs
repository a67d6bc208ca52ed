//! What led to a step is what did: not another frame of the same sender for the same queue, and not another of two messages that are alike.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{path::Path, time::Duration};

use qnfsm::{
    Codec, Context, Down, Fsm, Kinds, Next, NodeBuilder, NodeRequest, QueueId, Reply, ReplyTo, Trust, WorkerId,
};
use qnfsm_replay::{
    Options, Session,
    session::{Cause, Direction, Step},
};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(30);

/// A shop on another worker. While it is shut, whoever rings waits.
#[derive(Default, Serialize, Deserialize)]
struct Shop {
    rung: u64,
}

#[derive(Serialize, Deserialize)]
enum Visit {
    Ring,
    Shut,
    Open,
    Bell(Bell),
    Watch(QueueId<Visit>),
    Gone(Down),
    Close,
    Rung(ReplyTo<u64>),
    /// To ask the town for its news, so many times.
    Ask(u64, QueueId<News>),
    Answered(Reply<u64>),
}

impl From<Reply<u64>> for Visit {
    fn from(reply: Reply<u64>) -> Visit {
        Visit::Answered(reply)
    }
}

/// A message of no bytes, which shops take in.
#[derive(Serialize, Deserialize)]
struct Bell;

impl From<Bell> for Visit {
    fn from(bell: Bell) -> Visit {
        Visit::Bell(bell)
    }
}

impl From<Down> for Visit {
    fn from(down: Down) -> Visit {
        Visit::Gone(down)
    }
}

impl Fsm for Shop {
    const NAME: &'static str = "shop";
    type State = bool;
    type Message = Visit;

    fn start(&mut self, _: &mut Context<'_, Self>) -> bool {
        true
    }

    fn handle(&mut self, is_open: bool, visit: Visit, cx: &mut Context<'_, Self>) -> Next<Self> {
        match visit {
            Visit::Ring if !is_open => return Next::Postpone(visit),
            Visit::Ring | Visit::Bell(_) => self.rung += 1,
            Visit::Shut => return Next::Goto(false),
            Visit::Open => return Next::Goto(true),
            Visit::Watch(other) => cx.monitor(other),
            Visit::Gone(_) | Visit::Answered(_) => {}
            Visit::Ask(times, town) => {
                (0..times).for_each(|_| _ = cx.request(town, PATIENCE, |reply| News::When(0, 0, reply)));
            }
            Visit::Close => return Next::Stop,
            Visit::Rung(reply) => cx.reply(reply, self.rung),
        }
        Next::Stay
    }
}

/// What the town does to the first or the second shop, one step each, in one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Act {
    Watch(usize),
    Unwatch(usize),
    Ring(usize),
    Bell(usize),
    Shut(usize),
    Open(usize),
    Close(usize),
    Stop(usize),
    /// Has the first watch the second.
    Neighbours,
    /// Asks the first how often it was rung, and says so whoever asks.
    Count,
    /// Has the first ask in its turn, so many times.
    Asked(u64),
}

#[derive(Default, Serialize, Deserialize)]
struct Town {
    shops: Vec<QueueId<Visit>>,
}

#[derive(Serialize, Deserialize)]
enum News {
    Worker(Reply<WorkerId>),
    Shop(Reply<QueueId<Visit>>),
    Counted(Reply<u64>),
    Gone(Down),
    Go(Vec<Act>),
    Do(u64, Act),
    /// Answered when the shops are there, or so much news of their ends came.
    When(usize, u64, ReplyTo<u64>),
}

impl From<Reply<WorkerId>> for News {
    fn from(reply: Reply<WorkerId>) -> News {
        News::Worker(reply)
    }
}

impl From<Reply<QueueId<Visit>>> for News {
    fn from(reply: Reply<QueueId<Visit>>) -> News {
        News::Shop(reply)
    }
}

impl From<Reply<u64>> for News {
    fn from(reply: Reply<u64>) -> News {
        News::Counted(reply)
    }
}

impl From<Down> for News {
    fn from(down: Down) -> News {
        News::Gone(down)
    }
}

impl Fsm for Town {
    const NAME: &'static str = "town";
    /// How many shops there are, and how much news came.
    type State = (usize, u64);
    type Message = News;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> (usize, u64) {
        let node = NodeRequest::queue(cx.id().raw().node());
        cx.request(node, PATIENCE, |reply| NodeRequest::StartWorker { reply });
        (0, 0)
    }

    fn handle(&mut self, (shops, news): (usize, u64), came: News, cx: &mut Context<'_, Self>) -> Next<Self> {
        match came {
            News::Worker(reply) => {
                let worker = reply.outcome.expect("nodes start workers");
                (0..2).for_each(|_| _ = cx.spawn_on(worker, Shop::default(), PATIENCE));
            }
            News::Shop(reply) => {
                self.shops.push(reply.outcome.expect("a worker that was started takes FSMs"));
                return Next::Goto((shops + 1, news));
            }
            News::Go(acts) => (0..).zip(acts).for_each(|(number, act)| cx.send_self(News::Do(number, act))),
            News::Do(_, act) => self.act(act, cx),
            News::Counted(_) | News::Gone(_) => return Next::Goto((shops, news + 1)),
            News::When(shops_min, news_min, reply) if shops >= shops_min && news >= news_min => cx.reply(reply, news),
            News::When(..) => return Next::Postpone(came),
        }
        Next::Stay
    }
}

impl Town {
    fn act(&self, act: Act, cx: &mut Context<'_, Self>) {
        match act {
            Act::Watch(shop) => cx.monitor(self.shops[shop]),
            Act::Unwatch(shop) => cx.unmonitor(self.shops[shop]),
            Act::Ring(shop) => cx.send(self.shops[shop], Visit::Ring),
            Act::Bell(shop) => cx.send(self.shops[shop].narrow(), Bell),
            Act::Shut(shop) => cx.send(self.shops[shop], Visit::Shut),
            Act::Open(shop) => cx.send(self.shops[shop], Visit::Open),
            Act::Close(shop) => cx.send(self.shops[shop], Visit::Close),
            Act::Stop(shop) => cx.stop(self.shops[shop]),
            Act::Neighbours => cx.send(self.shops[0], Visit::Watch(self.shops[1])),
            Act::Asked(times) => cx.send(self.shops[0], Visit::Ask(times, cx.id())),
            Act::Count => _ = cx.request(self.shops[0], PATIENCE, Visit::Rung),
        }
    }
}

fn kinds() -> Kinds {
    Kinds::new()
        .message_named::<Bell>("a bell")
        .with::<Town>()
        .with::<Shop>()
        .message::<u64>()
        .accepts::<Visit, Bell>()
        .accepts::<Visit, Down>()
        .accepts::<News, Down>()
        .replies::<News, WorkerId>()
        .replies::<News, QueueId<Visit>>()
        .replies::<News, u64>()
        .replies::<Visit, u64>()
}

/// A session of a town that did that, each when of what was before so much news had come.
fn lived(dir: &Path, acts: &[(&[Act], u64)]) -> Session {
    let node = NodeBuilder::new("town", kinds()).dir(dir).start(&Town::default()).unwrap();
    let when = |news| node.host().request(node.root(), PATIENCE, move |reply| News::When(2, news, reply)).unwrap();
    let mut news: u64 = when(0);
    for (acts, more) in acts {
        node.host().send(node.root(), &News::Go(acts.to_vec())).unwrap();
        news = when(news + more);
    }
    node.stop().unwrap();
    Session::open(dir, kinds(), &Options::new()).unwrap_or_else(|error| panic!("{error}"))
}

fn message<M: qnfsm::Message>(session: &Session, step: &Step) -> Option<M> {
    let message = step.message.as_ref()?;
    let is_its = session.catalogue().type_number::<M>() == Some(message.type_number);
    is_its.then(|| Codec::CURRENT.decode(&message.bytes, Trust::Node).unwrap())
}

/// Of each step in which that was handled for good, which acts of the town's led to it; what of is empty, if none is known.
fn led_to<M: qnfsm::Message>(session: &mut Session, is_wanted: impl Fn(&M) -> bool) -> Vec<Vec<(u64, Act)>> {
    session.go_to_start().unwrap();
    let catalogue = session.catalogue().clone();
    let number = catalogue.type_number::<M>();
    let wanted = |step: &Step| {
        let message = step.message.as_ref().filter(|message| Some(message.type_number) == number);
        let message = message.map(|message| Codec::CURRENT.decode(&message.bytes, Trust::Node).unwrap());
        step.end != qnfsm::End::Postponed && message.is_some_and(|message| is_wanted(&message))
    };
    let mut led = vec![];
    while session.find(Direction::Forward, |_, step| wanted(step)).unwrap() {
        let causes = session.causes(20).unwrap();
        let act = |cause: &Cause| match message::<News>(session, &cause.step) {
            Some(News::Do(number, act)) => Some((number, act)),
            _ => None,
        };
        led.push(causes.iter().filter_map(act).collect());
    }
    led
}

#[test]
fn a_message_comes_from_the_step_that_sent_it_and_not_from_one_that_did_something_else() {
    use Act::{Bell, Count, Ring, Unwatch, Watch};
    let dir = tempfile::tempdir().unwrap();
    // What stands before each has no bytes either, or less.
    let acts = [Watch(0), Unwatch(0), Bell(0), Watch(1), Ring(0), Unwatch(1), Ring(0), Bell(0), Count];
    let session = &mut lived(dir.path(), &[(&acts, 1)]);
    assert_eq!(led_to(session, |visit| matches!(visit, Visit::Bell(_))), [[(2, Bell(0))], [(7, Bell(0))]]);
    assert_eq!(led_to(session, |visit| matches!(visit, Visit::Ring)), [[(4, Ring(0))], [(6, Ring(0))]]);
    assert_eq!(led_to(session, |visit| matches!(visit, Visit::Rung(_))), [[(8, Count)]]);
    assert_eq!(led_to(session, |news| matches!(news, News::Counted(_))), [[(8, Count)]]);
}

#[test]
fn an_answer_comes_from_who_answered_and_not_from_a_request_that_has_its_number() {
    let dir = tempfile::tempdir().unwrap();
    // Each FSM counts its requests by itself: among so many of the shop's is one with the number of the town's.
    let acts = [Act::Asked(40), Act::Count];
    let session = &mut lived(dir.path(), &[(&acts, 1)]);
    assert_eq!(led_to(session, |news| matches!(news, News::Counted(_))), [[(1, Act::Count)]]);
    let asked = led_to(session, |news| matches!(news, News::When(0, 0, _)));
    assert_eq!(asked.iter().filter(|led| led[..] == [(0, Act::Asked(40))]).count(), 40, "{asked:?}");
}

#[test]
fn of_messages_that_are_alike_one_that_is_put_off_comes_from_its_own_step() {
    use Act::{Count, Open, Ring, Shut};
    let dir = tempfile::tempdir().unwrap();
    let acts = [Ring(0), Shut(0), Ring(0), Ring(0), Open(0), Ring(0), Shut(0), Ring(0), Open(0), Count];
    let session = &mut lived(dir.path(), &[(&acts, 1)]);
    let rung = [0, 2, 3, 5, 7].map(|number| [(number, Ring(0))]);
    assert_eq!(led_to(session, |visit| matches!(visit, Visit::Ring)), rung);
    // A number of steps apart, in rounds of their own.
    let dir = tempfile::tempdir().unwrap();
    let acts: [(&[Act], u64); 2] = [(&[Shut(0), Ring(0), Ring(1), Ring(0), Count], 1), (&[Open(0), Ring(0), Count], 1)];
    let session = &mut lived(dir.path(), &acts);
    let rung = [(2, Ring(1)), (1, Ring(0)), (3, Ring(0)), (1, Ring(0))].map(|act| [act]);
    assert_eq!(led_to(session, |visit| matches!(visit, Visit::Ring)), rung);
}

#[test]
fn the_end_of_an_fsm_comes_from_what_ended_it() {
    use Act::{Close, Count, Neighbours, Stop, Watch};
    let dir = tempfile::tempdir().unwrap();
    let acts: [(&[Act], u64); 2] = [(&[Neighbours, Count], 1), (&[Watch(0), Watch(1), Close(0), Stop(1)], 2)];
    let session = &mut lived(dir.path(), &acts);
    // The one that was told to stop was gone when the other had yet to close itself; and that one was told.
    assert_eq!(led_to(session, |visit| matches!(visit, Visit::Close)), [[(2, Close(0))]]);
    let led = led_to(session, |news| matches!(news, News::Gone(_)));
    assert_eq!(led, [[(3, Stop(1))], [(2, Close(0))]]);

    // What it said before it ended comes with the news of its end.
    let dir = tempfile::tempdir().unwrap();
    let session = &mut lived(dir.path(), &[(&[Watch(0), Count, Close(0)], 2)]);
    assert_eq!(led_to(session, |news| matches!(news, News::Gone(_))), [[(2, Close(0))]]);

    // Two in one round; and then, of one that is gone, whoever asks is told.
    let dir = tempfile::tempdir().unwrap();
    let acts: [(&[Act], u64); 2] = [(&[Watch(0), Watch(1), Stop(0), Stop(1)], 2), (&[Watch(1), Watch(0)], 2)];
    let session = &mut lived(dir.path(), &acts);
    let led = led_to(session, |news| matches!(news, News::Gone(_)));
    assert_eq!(led, [(2, Stop(0)), (3, Stop(1)), (0, Watch(1)), (1, Watch(0))].map(|act| [act]));

    // Who is told is on the worker of who is gone.
    let dir = tempfile::tempdir().unwrap();
    let acts: [(&[Act], u64); 2] = [(&[Neighbours, Count], 1), (&[Stop(1), Count], 1)];
    let session = &mut lived(dir.path(), &acts);
    assert_eq!(led_to(session, |visit| matches!(visit, Visit::Gone(_))), [[(0, Stop(1))]]);
}

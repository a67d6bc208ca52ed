//! A server that is made to be killed: it counts what each of its clients has put in, and hashes it in order.
//! `ledger serve <dir> buffered|durable` prints where it listens; `ledger replay <dir>` replays what it recorded. What its clients
//! say and hear is in `tests/kills.py`, which is one, and shares no code with it.
#![allow(clippy::disallowed_macros, reason = "a program that stands outside the node")]

use std::{collections::BTreeMap, error::Error, path::Path, process::ExitCode, time::Duration};

use qnfsm::{
    Context, Down, Durability, EdgeId, Fsm, Kinds, Limits, Next, NodeBuilder, NodeId, NodeRequest, QueueId, Reply,
    ReplyTo, RunOn, WorkerId,
};
use qnfsm_net::{Command, Control, Notice, Tcp};
use serde::{Deserialize, Serialize};

const LISTENER: &str = "ledger";
const PATIENCE: Duration = Duration::from_secs(3600);

/// What a client says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Request {
    Ask { client: u32 },
    Put { client: u32, value: u64 },
}

/// What it hears: how much it has put in, and the FNV-1a hash of all of it, number by number.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Answer {
    count: u64,
    hash: u64,
}

impl Default for Answer {
    fn default() -> Answer {
        Answer { count: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }
}

/// Opens the book on a worker of its own, and lets clients in.
#[derive(Debug, Serialize, Deserialize)]
struct Door {
    tcp: EdgeId,
    book: Option<QueueId<Entry>>,
    address: Option<String>,
    asked: Vec<ReplyTo<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
enum AtDoor {
    Worker(Reply<WorkerId>),
    Book(Reply<QueueId<Entry>>),
    Net(Notice),
    Down(Down),
    Address(ReplyTo<String>),
}

macro_rules! from {
    ($message:ident: $($variant:ident($from:ty)),+) => {
        $(impl From<$from> for $message {
            fn from(from: $from) -> $message {
                $message::$variant(from)
            }
        })+
    };
}

from!(AtDoor: Worker(Reply<WorkerId>), Book(Reply<QueueId<Entry>>), Net(Notice), Down(Down));

impl Door {
    fn listen(&self, cx: &mut Context<'_, Door>) {
        let control = qnfsm_net::control(NodeId(0), self.tcp);
        cx.monitor(control);
        cx.send(control, Control::Listen { name: LISTENER.to_owned() });
    }
}

impl Fsm for Door {
    const NAME: &'static str = "door";
    type State = ();
    type Message = AtDoor;

    fn start(&mut self, cx: &mut Context<'_, Door>) {
        cx.request(NodeRequest::queue(NodeId(0)), PATIENCE, |reply| NodeRequest::StartWorker { reply });
    }

    fn handle(&mut self, (): (), message: AtDoor, cx: &mut Context<'_, Door>) -> Next<Door> {
        match message {
            AtDoor::Worker(Reply { outcome, .. }) => {
                if let Ok(worker) = outcome {
                    cx.spawn_on(worker, Book::default(), PATIENCE);
                }
            }
            AtDoor::Book(Reply { outcome, .. }) => {
                self.book = outcome.ok();
                self.listen(cx);
            }
            AtDoor::Net(Notice::Listening { listener, address, .. }) => {
                cx.monitor(listener);
                cx.unmonitor(qnfsm_net::control(NodeId(0), self.tcp));
                self.asked.drain(..).for_each(|reply| cx.reply(reply, address.clone()));
                self.address = Some(address);
            }
            AtDoor::Net(Notice::Accepted { connection, .. }) => {
                if let Some(book) = self.book {
                    cx.spawn(Teller { socket: connection, book });
                }
            }
            AtDoor::Net(_) => {}
            // The node was restarted, and nobody listens any more.
            AtDoor::Down(_) => {
                self.address = None;
                self.listen(cx);
            }
            AtDoor::Address(reply) => match &self.address {
                Some(address) => cx.reply(reply, address.clone()),
                None => self.asked.push(reply),
            },
        }
        Next::Stay
    }
}

/// A client's connection.
#[derive(Debug, Serialize, Deserialize)]
struct Teller {
    socket: QueueId<Command>,
    book: QueueId<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
enum AtTeller {
    Client(Request),
    Net(Notice),
    Down(Down),
    Answer(Answer),
}

from!(AtTeller: Client(Request), Net(Notice), Down(Down));

impl Fsm for Teller {
    const NAME: &'static str = "teller";
    type State = ();
    type Message = AtTeller;

    fn start(&mut self, cx: &mut Context<'_, Teller>) {
        cx.send(self.socket, Command::Attach);
        cx.monitor(self.socket);
    }

    fn handle(&mut self, (): (), message: AtTeller, cx: &mut Context<'_, Teller>) -> Next<Teller> {
        match message {
            AtTeller::Client(request) => {
                let teller = cx.id();
                cx.send(self.book, Entry { request, teller });
            }
            AtTeller::Answer(answer) => cx.send(qnfsm_net::peer(self.socket), answer),
            AtTeller::Net(Notice::AttachRefused { .. }) | AtTeller::Down(_) => return Next::Stop,
            AtTeller::Net(_) => {}
        }
        Next::Stay
    }
}

/// What all clients have put in.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Book {
    clients: BTreeMap<u32, Answer>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Entry {
    request: Request,
    teller: QueueId<AtTeller>,
}

impl Fsm for Book {
    const NAME: &'static str = "book";
    type State = ();
    type Message = Entry;

    fn start(&mut self, _: &mut Context<'_, Book>) {}

    fn handle(&mut self, (): (), entry: Entry, cx: &mut Context<'_, Book>) -> Next<Book> {
        let answer = match entry.request {
            Request::Ask { client } => self.clients.get(&client).copied().unwrap_or_default(),
            Request::Put { client, value } => {
                let Answer { count, hash } = self.clients.entry(client).or_default();
                *count += 1;
                *hash = (*hash ^ value).wrapping_mul(0x0100_0000_01b3);
                Answer { count: *count, hash: *hash }
            }
        };
        cx.send(entry.teller, AtTeller::Answer(answer));
        Next::Stay
    }
}

fn kinds() -> Kinds {
    qnfsm_net::messages(Kinds::new())
        .with::<Door>()
        .replies::<AtDoor, WorkerId>()
        .replies::<AtDoor, QueueId<Entry>>()
        .accepts::<AtDoor, Notice>()
        .accepts::<AtDoor, Down>()
        .with::<Teller>()
        .accepts::<AtTeller, Request>()
        .accepts::<AtTeller, Notice>()
        .accepts::<AtTeller, Down>()
        .with::<Book>()
        .message::<Answer>()
        .message::<String>()
}

fn serve(dir: &Path, durability: Durability) -> Result<(), Box<dyn Error>> {
    // So little that each of these is met between two kills now and then.
    let limits = Limits {
        segment_bytes: 256 << 10,
        snapshot_every_bytes: 256 << 10,
        retain_bytes: Some(4 << 20),
        ..Limits::default()
    };
    let mut builder =
        NodeBuilder::new("ledger", kinds()).dir(dir).limits(limits).durability(durability).stop_on_signals();
    let tcp = builder.reactor(RunOn::FirstWorker, Tcp::new().listen::<Request>(LISTENER, "127.0.0.1:0"));
    let node = builder.start(&Door { tcp, book: None, address: None, asked: Vec::new() })?;
    let address: String = node.host().request(node.root(), PATIENCE, AtDoor::Address)?;
    println!("{address}");
    node.wait()?;
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "serve", dir, "buffered"] => serve(dir.as_ref(), Durability::Buffered).map(|()| ExitCode::SUCCESS),
        [_, "serve", dir, "durable"] => serve(dir.as_ref(), Durability::Durable).map(|()| ExitCode::SUCCESS),
        _ => Ok(qnfsm_replay::cli::main("ledger", kinds())),
    }
}

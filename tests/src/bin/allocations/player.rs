//! The FSM that all cases within a worker and between two are played by, and one whose messages allocate.

use std::time::Duration;

use qnfsm::{Context, Fsm, Kinds, Next, QueueId, Reply, ReplyTo};
use serde::{Deserialize, Serialize};

/// How many notes are sent before the receiver's credit is waited for.
pub const BURST: u32 = 128;
/// A time at which no case's timer fires.
const LATER: Duration = Duration::from_secs(1000);

/// Plays what it is told, with its peers.
#[derive(Serialize, Deserialize)]
pub struct Player {
    /// How many peers it spawns when it starts.
    pub spawns: u32,
    /// Whom it plays with.
    pub peers: Vec<QueueId<Say>>,
    left: u32,
    heard: u32,
}

impl Player {
    /// A player that spawns so many peers.
    pub fn spawning(spawns: u32) -> Player {
        Player { spawns, peers: Vec::new(), left: 0, heard: 0 }
    }

    /// A player with a peer elsewhere.
    pub fn with(peer: QueueId<Say>) -> Player {
        Player { spawns: 0, peers: vec![peer], left: 0, heard: 0 }
    }
}

/// What players are told. The numbers say how often it goes on.
#[derive(Debug, Serialize, Deserialize)]
pub enum Say {
    /// Begin a rally with the first peer.
    Serve(u32),
    /// Hit it back to the sender; reset a timer with each stroke, if `resets`.
    Ball { left: u32, resets: bool },
    /// Send to yourself.
    Alone(u32),
    /// Begin to ask the first peer.
    Ask(u32),
    /// Answer.
    Question(ReplyTo<u64>),
    /// The answer.
    Answered(Reply<u64>),
    /// Begin to call all peers; the next call comes when all have answered.
    Call(u32),
    /// A call.
    Called,
    /// Its answer.
    Heard,
    /// Begin to send bursts of notes to the first peer.
    Stream(u32),
    /// One of a burst.
    Note(u64),
    /// A burst was received.
    Credit,
    /// Begin a rally in which each stroke resets a timer.
    ServeResetting(u32),
    /// Wait, and again.
    Tick(u32),
    /// All peers wait, and again.
    AllTick(u32),
    /// Beat once a microsecond from now on.
    Beat,
    /// A beat.
    Beaten,
}

impl From<Reply<u64>> for Say {
    fn from(reply: Reply<u64>) -> Say {
        Say::Answered(reply)
    }
}

/// All kinds of these cases.
pub fn kinds() -> Kinds {
    Kinds::new().with::<Player>().replies::<Say, u64>().with::<Scribe>()
}

impl Player {
    fn ask(&self, cx: &mut Context<'_, Player>) {
        cx.request(self.peers[0], LATER, Say::Question);
    }

    fn call(&self, cx: &mut Context<'_, Player>) {
        for peer in &self.peers {
            cx.send(*peer, Say::Called);
        }
    }

    fn burst(&self, cx: &mut Context<'_, Player>) {
        for note in 0..BURST {
            cx.send(self.peers[0], Say::Note(u64::from(note) << 40));
        }
    }

    /// True if it is to go on once more.
    fn again(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }
}

impl Fsm for Player {
    const NAME: &'static str = "player";
    type State = ();
    type Message = Say;

    fn start(&mut self, cx: &mut Context<'_, Player>) {
        for _ in 0..self.spawns {
            self.peers.push(cx.spawn(Player::spawning(0)));
        }
    }

    fn handle(&mut self, (): (), said: Say, cx: &mut Context<'_, Player>) -> Next<Player> {
        let sender = QueueId::from_raw(cx.sender());
        match said {
            Say::Serve(left) => cx.send(self.peers[0], Say::Ball { left, resets: false }),
            Say::ServeResetting(left) => cx.send(self.peers[0], Say::Ball { left, resets: true }),
            Say::Ball { left, resets } => {
                if resets {
                    cx.timer("idle", LATER, Say::Beaten);
                    cx.state_timeout(LATER, Say::Beaten);
                }
                if left > 0 {
                    cx.send(sender, Say::Ball { left: left - 1, resets });
                }
            }
            Say::Alone(0) | Say::Tick(0) | Say::Beaten | Say::Answered(Reply { outcome: Err(_), .. }) => {}
            Say::Alone(left) => cx.send_self(Say::Alone(left - 1)),
            Say::Ask(left) => {
                self.left = left;
                self.ask(cx);
            }
            Say::Question(reply) => cx.reply(reply, 1 << 40),
            Say::Answered(_) => {
                if self.again() {
                    self.ask(cx);
                }
            }
            Say::Call(left) => {
                (self.left, self.heard) = (left, 0);
                self.call(cx);
            }
            Say::Called => cx.send(sender, Say::Heard),
            Say::Heard => {
                self.heard += 1;
                if self.heard as usize == self.peers.len() {
                    self.heard = 0;
                    if self.again() {
                        self.call(cx);
                    }
                }
            }
            Say::Stream(left) => {
                self.left = left;
                self.burst(cx);
            }
            Say::Note(_) => {
                self.heard += 1;
                if self.heard.is_multiple_of(BURST) {
                    cx.send(sender, Say::Credit);
                }
            }
            Say::Credit => {
                if self.again() {
                    self.burst(cx);
                }
            }
            Say::Tick(left) => {
                cx.after(Duration::from_micros(1 + cx.id().raw().slot() as u64 % 7), Say::Tick(left - 1));
            }
            Say::AllTick(left) => {
                for peer in &self.peers {
                    cx.send(*peer, Say::Tick(left));
                }
            }
            Say::Beat => {
                cx.every("beat", Duration::from_micros(1), Say::Beaten);
            }
        }
        Next::Stay
    }
}

/// Writes itself letters, each with a text of its own: what a counter must see.
#[derive(Serialize, Deserialize)]
pub struct Scribe;

/// A message that allocates.
#[derive(Serialize, Deserialize)]
pub struct Letter {
    /// How many more are written.
    pub left: u32,
    /// A byte or more.
    pub text: Vec<u8>,
}

impl Fsm for Scribe {
    const NAME: &'static str = "scribe";
    type State = ();
    type Message = Letter;

    fn start(&mut self, _cx: &mut Context<'_, Scribe>) {}

    fn handle(&mut self, (): (), letter: Letter, cx: &mut Context<'_, Scribe>) -> Next<Scribe> {
        if letter.left > 0 {
            cx.send(cx.id(), Letter { left: letter.left - 1, text: vec![1] });
        }
        Next::Stay
    }
}

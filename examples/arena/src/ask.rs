//! Asks an FSM from the program around its node, and gives up when the node is told to stop.

use std::time::Duration;

use qnfsm::{Host, HostError, Message, NoReply, QueueId, ReplyTo};

/// How long one question waits; then it is asked anew, if the node still runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many of them make up the patience of a program.
const LOOKS: u32 = 60;

/// The answer to what is asked; none if the node is told to stop before it comes.
///
/// # Errors
/// Why there is none otherwise: after 30 seconds, that the deadline passed.
pub(crate) fn ask_while_running<M: Message, A: Message>(
    host: &Host,
    to: QueueId<M>,
    question: impl Fn(ReplyTo<A>) -> M,
) -> Result<Option<A>, HostError> {
    for _ in 0..LOOKS {
        match host.request(to, LOOK_EVERY, &question) {
            Err(HostError::NoReply(NoReply::Expired)) => {}
            // A signal came, or standard input ended.
            Err(HostError::Stopping | HostError::NoReply(NoReply::Gone)) => return Ok(None),
            outcome => return outcome.map(Some),
        }
    }
    Err(HostError::NoReply(NoReply::Expired))
}

#[cfg(test)]
mod tests {
    use qnfsm::{Context, Fsm, Kinds, Next, NodeBuilder, NodeId, NodeRequest};
    use serde::{Deserialize, Serialize};

    use super::*;

    /// Answers the question of that number; the last one that it doesn't answer has the node stop.
    #[derive(Serialize, Deserialize)]
    struct Slow {
        answers_at: u32,
        stops_at: u32,
        asked: u32,
    }

    impl Fsm for Slow {
        const NAME: &'static str = "slow";
        type State = ();
        type Message = ReplyTo<u32>;

        fn start(&mut self, _: &mut Context<'_, Self>) {}

        fn handle(&mut self, (): (), reply: ReplyTo<u32>, cx: &mut Context<'_, Self>) -> Next<Self> {
            self.asked += 1;
            if self.asked == self.answers_at {
                cx.reply(reply, self.asked);
            }
            if self.asked == self.stops_at {
                cx.send(NodeRequest::queue(NodeId(0)), NodeRequest::Stop);
            }
            Next::Stay
        }
    }

    fn ask(answers_at: u32, stops_at: u32) -> Option<u32> {
        let node = NodeBuilder::new("slow", Kinds::new().with::<Slow>().message::<u32>());
        let node = node.start(&Slow { answers_at, stops_at, asked: 0 }).expect("the node starts");
        ask_while_running(&node.host(), node.root(), |reply| reply).expect("it answers or is stopped")
    }

    #[test]
    fn an_answer_is_waited_for_and_a_stop_ends_the_wait() {
        assert_eq!(ask(1, 0), Some(1));
        assert_eq!(ask(2, 0), Some(2));
        assert_eq!(ask(3, 1), None, "the third question is never asked");
    }
}

//! How many frames a round takes from its inbox: about as many messages as it may hand out. More would only lie in queues,
//! spread over memory, while in the inbox they stay in their batches; fewer would leave the round short.
//!
//! Batches are taken whole, so a round may take more than its share; the next ones then take less (a deficit round robin,
//! after Shreedhar and Varghese). A worker that is never done with its own messages takes some all the same.

/// Of its bound, a round's least share of frames: one in so many.
const LEAST_SHARE: u32 = 4;

/// What may be taken before the next round, in frames; below nothing where an earlier round took too many.
#[derive(Debug)]
pub(super) struct Quota {
    left: i64,
}

impl Quota {
    pub(super) fn new() -> Quota {
        Quota { left: 0 }
    }

    /// The next round may hand out `bound` messages, and so many are queued already.
    pub(super) fn next_round(&mut self, bound: u32, queued: u32) {
        if queued == 0 {
            self.left = i64::from(bound);
        } else {
            let share = bound.saturating_sub(queued).max(bound.div_ceil(LEAST_SHARE));
            self.left = (self.left.min(0) + i64::from(share)).min(i64::from(bound));
        }
    }

    pub(super) fn is_left(&self) -> bool {
        self.left > 0
    }

    pub(super) fn take(&mut self, frames: u32) {
        self.left -= i64::from(frames);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: u32 = 1000;

    /// Rounds of a worker whose every frame is one message and whose batches are that long, with more always there. Each
    /// round hands out at most [`BOUND`] messages. Says the most that was queued, and how many frames came in.
    fn run(rounds: u32, batch: u32, mut queued: u32) -> (u32, u32) {
        let (mut quota, mut most, mut frames) = (Quota::new(), 0, 0);
        for _ in 0..rounds {
            quota.next_round(BOUND, queued);
            while quota.is_left() {
                quota.take(batch);
                frames += batch;
                queued += batch;
            }
            most = most.max(queued);
            queued -= queued.min(BOUND);
        }
        (most, frames)
    }

    #[test]
    fn a_round_takes_about_as_much_as_it_hands_out_however_long_the_batches() {
        for batch in [1, 10, 999, 1000, 1001, 2500, 50_000] {
            let (most, frames) = run(10_000, batch, 0);
            assert!(most <= BOUND + 2 * batch, "batches of {batch}: {most} were queued");
            assert!(frames >= 8_000 * BOUND, "batches of {batch}: {frames} frames in 10,000 rounds");
        }
    }

    #[test]
    fn messages_that_never_end_keep_no_frame_out_for_ever() {
        for batch in [1, 300, 5000] {
            let mut quota = Quota::new();
            let mut frames = 0;
            for _ in 0..1000 {
                quota.next_round(BOUND, 1_000_000);
                while quota.is_left() {
                    quota.take(batch);
                    frames += batch;
                }
            }
            let share = 1000 * BOUND / LEAST_SHARE;
            assert!(
                (share..share + batch).contains(&frames),
                "batches of {batch}: {frames} frames, and {share} is their share"
            );
        }
    }

    #[test]
    fn who_is_done_owes_nothing() {
        let mut quota = Quota::new();
        quota.next_round(BOUND, 0);
        quota.take(100_000);
        quota.next_round(BOUND, 1);
        assert!(!quota.is_left());
        quota.next_round(BOUND, 0);
        assert!(quota.is_left());
    }

    #[test]
    fn a_bound_of_a_few_messages_still_lets_frames_in() {
        let mut quota = Quota::new();
        for _ in 0..10 {
            quota.next_round(1, 100);
            if quota.is_left() {
                return;
            }
        }
        panic!("no frame was let in");
    }
}

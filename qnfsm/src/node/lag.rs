//! How long the oldest byte of a stream has waited, told from two counts alone: of the bytes that went in and of those that came
//! out. Whoever puts them in and takes them out counts, and reads no clock for it; only who looks now and then does.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How many looks are remembered at most: where a stream stands still for longer, every other one is forgotten, and only as many of
/// the coming ones are remembered.
const LOOKS_MAX: u32 = 256;

/// The looks at one stream that bytes went in before which have not come out.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// When it was, and how many bytes had gone in by then.
    looks: VecDeque<(Instant, u64)>,
    /// How far apart those that are remembered lie at least.
    apart: Duration,
}

impl Lag {
    /// Looks at the counts; says how long the oldest byte that is in the stream has waited at least. It may have come at any time
    /// after the look before.
    pub(super) fn look(&mut self, now: Instant, went_in: u64, came_out: u64) -> Duration {
        while self.looks.front().is_some_and(|(_, had_gone_in)| *had_gone_in <= came_out) {
            self.looks.pop_front();
        }
        if self.looks.is_empty() {
            self.apart = Duration::ZERO;
        }
        let is_new = |(last, had_gone_in): &(Instant, u64)| {
            went_in > *had_gone_in && now.saturating_duration_since(*last) >= self.apart
        };
        if self.looks.back().map_or(went_in > came_out, is_new) {
            self.looks.push_back((now, went_in));
        }
        let waited = self.looks.front().map_or(Duration::ZERO, |(since, _)| now.saturating_duration_since(*since));
        if self.looks.len() == LOOKS_MAX as usize {
            let mut keeps = false;
            self.looks.retain(|_| {
                keeps = !keeps;
                keeps
            });
            self.apart = waited / (LOOKS_MAX / 2);
        }
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lag that is looked at each ten milliseconds, with these counts.
    fn looks(counts: impl IntoIterator<Item = (u64, u64)>) -> Vec<u128> {
        let (begun, mut lag) = (Instant::now(), Lag::default());
        let looks = (0..).zip(counts);
        looks
            .map(|(look, (went_in, came_out))| {
                lag.look(begun + look * Duration::from_millis(10), went_in, came_out).as_millis()
            })
            .collect()
    }

    #[test]
    fn it_grows_while_nothing_comes_out_and_is_nothing_where_all_has() {
        assert_eq!(looks([(0, 0), (5, 5), (9, 9), (9, 9)]), [0, 0, 0, 0]);
        assert_eq!(looks([(5, 0), (5, 0), (5, 4), (5, 5), (5, 5)]), [0, 10, 20, 0, 0]);
    }

    #[test]
    fn it_is_that_of_the_oldest_byte_that_is_still_in() {
        // Five bytes more go in at each look, and from the fourth on as many come out.
        let counts = (1..=8_u64).map(|look| (look * 5, look.saturating_sub(3) * 5));
        assert_eq!(looks(counts), [0, 10, 20, 20, 20, 20, 20, 20]);
    }

    #[test]
    fn a_stream_that_stands_still_for_long_is_remembered_from_its_beginning_in_bounded_room() {
        const EVERY_MS: u32 = 10;
        const LOOKS: u32 = 100_000;
        let (begun, mut lag) = (Instant::now(), Lag::default());
        let at = |look: u32| Duration::from_millis(u64::from(look * EVERY_MS));
        for look in 0..LOOKS {
            assert_eq!(lag.look(begun + at(look), u64::from(look) + 1, 0), at(look));
            assert!(lag.looks.len() < LOOKS_MAX as usize);
        }
        // Most of it comes out. What is told may be too little then, by what was forgotten between two looks.
        for came_out in (0..LOOKS).step_by(997) {
            let told = lag.look(begun + at(LOOKS), u64::from(LOOKS), u64::from(came_out));
            let waited = at(LOOKS - came_out);
            assert!(told <= waited && told + at(LOOKS) * 2 / LOOKS_MAX >= waited, "{told:?} of {waited:?}");
        }
    }
}

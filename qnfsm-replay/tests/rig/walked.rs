//! A session held against a walk through the same journal: both show the rounds that can be played, and the same in each.

use std::{collections::BTreeMap, ops::ControlFlow, path::Path, time::Duration};

use qnfsm::Kinds;
use qnfsm_replay::{
    Options, Session, Walk,
    session::{By, Direction, Step},
};

/// The steps of each round that can be played, by the round's ordinal.
pub(crate) type Rounds = BTreeMap<u64, Vec<Step>>;

/// All rounds that a walk shows.
pub(crate) fn walked(dir: &Path, kinds: Kinds) -> Rounds {
    let mut rounds = Rounds::new();
    let options = Options::new();
    let walked = Walk::open(dir, kinds, &options).unwrap().rounds(|log| {
        rounds.insert(log.ordinal, log.steps.clone());
        ControlFlow::Continue(())
    });
    walked.unwrap();
    rounds
}

/// Goes through a journal by all ways that there are, with stations as close as they can be, and with none. Gives the rounds that can be
/// played, and how many there are.
pub(crate) fn session_goes_as_a_walk_does(dir: &Path, kinds: fn() -> Kinds) -> (Rounds, u64) {
    let rounds = walked(dir, kinds());
    let steps: Vec<_> =
        rounds.iter().flat_map(|(ordinal, steps)| (0..steps.len()).map(|step| (*ordinal, step))).collect();
    for memory in [0, 64 << 20] {
        let options = Options::new().memory(memory).stations_apart(Duration::ZERO);
        let mut session = Session::open(dir, kinds(), &options).unwrap();
        assert!(session.stopped().is_none(), "{:?}", session.stopped());
        let spot = |session: &Session| session.spot().map(|spot| (spot.ordinal, spot.step)).unwrap();
        // The first round and the last one may be without a step.
        let stands = |session: &Session| session.step().map(|_| spot(session)).into_iter().collect::<Vec<_>>();
        let mut forward = stands(&session);
        while session.forward(By::Step).unwrap() {
            forward.push(spot(&session));
        }
        assert_eq!(forward, steps);
        session.go_to_end().unwrap();
        let mut back = stands(&session);
        while session.back(By::Step).unwrap() {
            back.push(spot(&session));
        }
        back.reverse();
        assert_eq!(back, steps);
        let all = session.rounds();
        for ordinal in (0..all.min(200)).map(|at| at * 7919 % all) {
            let went = session.go_to(ordinal);
            assert_eq!(went.is_ok(), rounds.contains_key(&ordinal), "round {ordinal}: {went:?}");
            if let Some(steps) = rounds.get(&ordinal) {
                assert_eq!(&session.log().unwrap().steps, steps, "round {ordinal}");
                let (worker, round) = (session.log().unwrap().worker, session.log().unwrap().round);
                session.go_to_round(worker, round).unwrap();
                assert_eq!(session.log().unwrap().ordinal, ordinal);
            }
        }
        session.go_to_end().unwrap();
        let at_step = usize::from(session.step().is_some());
        let mut seen = 0;
        session
            .find(Direction::Back, |_, _| {
                seen += 1;
                false
            })
            .unwrap();
        assert_eq!(seen + at_step, steps.len(), "all that stand before the last one are looked at");
    }
    let session = Session::open(dir, kinds(), &Options::new()).unwrap();
    (rounds, session.rounds())
}

//! The subcommand `bisect`: the step after which an invariant doesn't hold.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
};

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Program,
    output::{conclude, print, print_json, unless_closed},
    show::{LiveLine, ReadError},
    sound::{say_left_out, say_stopped, sound_part},
    step::{StepText, go_there},
};
use crate::{
    NotBegun, Options, ReplayError, Seen, Session,
    debug::step_json,
    dump::DumpError,
    session::Broken,
    status::{BROKEN, DONE, running_help},
};

/// Finds the first round and delivery after which an invariant of the program's doesn't hold.
///
/// It plays the journal once and leaves images of the workers on the way; where the invariant holds at one of them and not at the next,
/// only what lies between these two is gone through.
///
/// Of a journal that is damaged, or from which the program parts, the part before is looked at. The status is that of the damage if it holds there.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = running_help!(
    "Example:\n  my-service bisect /var/lib/my-service --invariant 'no score is negative'",
    "it always holds",
    "32 it doesn't: the step is printed, "
))]
pub struct BisectArgs {
    /// The node's directory: the one that holds `manifest` and `journal`. It is only read.
    pub dir: PathBuf,
    /// The invariant's name. Without it, the first that doesn't hold of all that the program has, by going through everything.
    #[arg(long, value_name = "NAME")]
    pub invariant: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Found<'a> {
    /// None, where not all of the journal could be looked at.
    holds: Option<bool>,
    exit_status: u8,
    rounds: u64,
    rounds_played: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    not_begun: &'a [NotBegun],
    #[serde(flatten)]
    broken: Option<BrokenAt>,
    /// What keeps the journal from being played to its end; all else is of what stands before.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<ReadError<'a>>,
}

#[derive(Serialize)]
struct BrokenAt {
    invariant: String,
    what: String,
    worker: u32,
    round: u64,
    ordinal: u64,
    /// Which of the round's steps, from 0.
    step: Option<usize>,
    delivery: Option<u32>,
    queue: Option<String>,
    kind: Option<String>,
    /// It held after every step before.
    is_first: bool,
    /// The step as `debug --json` shows it: the message, the fields before and after, what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    what_changed: Option<Box<RawValue>>,
}

impl BisectArgs {
    /// Looks, prints what came of it, and says with which status the program ends.
    #[must_use]
    pub fn execute(&self, program: Program) -> ExitCode {
        match self.look(program) {
            Ok(status @ 1..) => ExitCode::from(status),
            done => conclude(self.json, done.map(drop)),
        }
    }

    /// The status of what it finds.
    fn look(&self, program: Program) -> Result<u8, DumpError> {
        let Program { name, kinds, invariants, .. } = program;
        let names: Vec<_> = invariants.names().map(str::to_owned).collect();
        if names.is_empty() {
            let text = "the program has no invariants; give it some with `Program::invariants`".to_owned();
            return Err(ReplayError::Misuse(text).into());
        }
        let line = LiveLine::new("playing", self.json);
        let options = Options::new().program(name).on_progress(|seen| {
            let Seen { rounds, bytes, bytes_total, .. } = seen;
            line.draw(bytes, bytes_total, || format!(", {rounds} rounds"));
        });
        let mut session = Session::open(&self.dir, kinds, &options)?;
        line.clear();
        let line = Rc::new(LiveLine::later("checking"));
        let drawn = line.clone();
        session.on_progress(move |rounds, total| drawn.draw(rounds, total, || format!(", {rounds} rounds")));
        let found = match &self.invariant {
            Some(invariant) => session.bisect(invariants, invariant),
            None => session.check(invariants),
        };
        line.clear();
        let found = found?;
        let of = self
            .invariant
            .as_ref()
            .map_or_else(|| format!("all {} invariants hold", names.len()), |name| format!("{name:?} holds"));
        let stopped = session.stopped();
        let exit_status = match (&found, stopped) {
            (Some(_), _) => BROKEN,
            (None, Some(stopped)) => stopped.exit_status(),
            (None, None) => DONE,
        };
        if self.json {
            let holds = if found.is_some() { Some(false) } else { stopped.is_none().then_some(true) };
            let broken = found.map(|broken| broken_at(broken, &session));
            let (rounds, rounds_played, not_begun) = (session.rounds(), session.rounds_played(), session.not_begun());
            let stopped = stopped.map(ReadError::new);
            let found = Found { holds, exit_status, rounds, rounds_played, not_begun, broken, stopped };
            unless_closed(print_json(&found))?;
        } else {
            unless_closed(print(&text(found, &self.dir, &session, &of)))?;
        }
        say_left_out(&session, stopped);
        stopped.iter().for_each(|stopped| say_stopped(stopped));
        Ok(exit_status)
    }
}

fn broken_at(broken: Broken, session: &Session) -> BrokenAt {
    let Broken { violation, ordinal, step, is_first } = broken;
    let here = step.and_then(|_| session.step());
    let what_changed = here.map(|step| step_json(session.catalogue(), step, &violation.what));
    BrokenAt {
        invariant: violation.invariant,
        what: violation.what,
        worker: violation.worker.0,
        round: violation.round,
        ordinal,
        step,
        delivery: here.map(|step| step.delivery),
        queue: violation.fsm.as_ref().map(|(queue, _)| queue.to_string()),
        kind: violation.fsm.map(|(_, kind)| kind),
        is_first,
        what_changed,
    }
}

fn text(found: Option<Broken>, dir: &Path, session: &Session, of: &str) -> String {
    let Some(Broken { violation, ordinal, step, is_first }) = found else {
        let of_part = sound_part(session.stopped().is_some());
        return format!("{of} after each of {} rounds{of_part}\n", session.rounds_played());
    };
    let mut text = format!("{violation}\n");
    if let (Some(_), Some(step)) = (step, session.step()) {
        text.push_str(&StepText { step, catalogue: session.catalogue() }.of(&violation.what));
    }
    text.push_str(&format!("  round:    {ordinal} of the journal, {} of {}\n", violation.round, violation.worker));
    text.push_str(&go_there(dir, session));
    if !is_first {
        text.push_str(
            "  It held at the station before; if it may break and hold again, look without `--invariant` too.\n",
        );
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use std::{fs, path::Path, time::Duration};

    use qnfsm::{Context, Fsm, Invariants, Kinds, Next, NodeBuilder, ReplyTo};
    use serde::Deserialize;

    use super::*;
    use crate::status::DAMAGED;

    #[derive(Default, Serialize, Deserialize)]
    struct Purse {
        coins: i64,
    }

    #[derive(Serialize, Deserialize)]
    enum Coin {
        Put(i64),
        Count(ReplyTo<i64>),
    }

    impl Fsm for Purse {
        const NAME: &'static str = "purse";
        type State = ();
        type Message = Coin;

        fn start(&mut self, _: &mut Context<'_, Self>) {}

        fn handle(&mut self, (): (), coin: Coin, cx: &mut Context<'_, Self>) -> Next<Self> {
            match coin {
                Coin::Put(coins) => self.coins += coins,
                Coin::Count(reply) => cx.reply(reply, self.coins),
            }
            Next::Stay
        }
    }

    fn program() -> Program {
        let solvent = Invariants::new()
            .state::<Purse>("solvent", |purse, _| if purse.coins < 0 { Err("it owes".to_owned()) } else { Ok(()) });
        Program::new("purse", Kinds::new().with::<Purse>().message::<i64>()).invariants(solvent)
    }

    /// A purse that owes for a moment, in the fourth of a hundred messages.
    fn recorded(dir: &Path, fourth: i64) {
        let node = NodeBuilder::new("purse", program().kinds).dir(dir).start(&Purse::default()).unwrap();
        for number in 1..=100 {
            let coin = Coin::Put(if number == 4 { fourth } else { 1 });
            node.host().send(node.root(), &coin).unwrap();
            // In a round of its own.
            let _: i64 = node.host().request(node.root(), Duration::from_secs(30), Coin::Count).unwrap();
        }
        node.stop().unwrap();
    }

    /// Changes a byte of the last frame that came in.
    fn damage(dir: &Path) {
        let file = qnfsm::journal::segment_path(dir, 1);
        let mut bytes = fs::read(&file).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end - 400] ^= 1;
        fs::write(file, bytes).unwrap();
    }

    fn status(dir: &Path) -> u8 {
        let args = BisectArgs { dir: dir.into(), invariant: Some("solvent".to_owned()), json: true };
        args.look(program()).unwrap()
    }

    #[test]
    fn what_breaks_before_the_damage_is_broken_and_what_holds_there_may_break_behind() {
        for (fourth, found) in [(-10, BROKEN), (1, DAMAGED)] {
            let dir = tempfile::tempdir().unwrap();
            recorded(dir.path(), fourth);
            assert_eq!(status(dir.path()), if fourth < 0 { BROKEN } else { DONE });
            damage(dir.path());
            assert_eq!(status(dir.path()), found, "with {fourth} at the fourth");
        }
    }

    #[test]
    fn the_json_object_has_the_fields_before_and_after() {
        let dir = tempfile::tempdir().unwrap();
        recorded(dir.path(), -10);
        let Program { kinds, invariants, .. } = program();
        let mut session = Session::open(dir.path(), kinds, &Options::new()).unwrap();
        let broken = session.bisect(invariants, "solvent").unwrap().unwrap();
        let broken = Some(broken_at(broken, &session));
        let (rounds, rounds_played, not_begun) = (2, 2, &[][..]);
        let holds = Some(false);
        let found = Found { holds, exit_status: BROKEN, rounds, rounds_played, not_begun, broken, stopped: None };
        let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
        let changed = &json["what_changed"]["changed"][0];
        assert_eq!(
            (&changed["path"], &changed["before"], &changed["after"]),
            (&"coins".into(), &3.into(), &(-7).into()),
            "{json}"
        );
        assert_eq!(json["what_changed"]["message"]["value"], serde_json::json!({ "Put": -10 }), "{json}");
    }
}

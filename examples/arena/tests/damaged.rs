//! What commands that run or compare make of a journal that is damaged in the middle, on one of the arena under load, killed and recovered:
//! they go through the sound part, say where it ends, and end with a status that tells a verdict of that part from one of the whole.

mod commands;
mod journals;

use std::fs;

use commands::{Program, call, told};
use journals::{Dir, alone, arena, copy, damage, files, json, middle, run, segment};
use serde_json::Value;

/// A copy of the server's directory with a byte changed in the middle, and the same given up from there on, as the commands advise.
fn damaged_and_mended(name: &str) -> (Dir, Dir) {
    let dir = copy("server", name);
    let second = segment(dir.path(), 2);
    damage(&second, middle(&second));
    let mended = copy("server", &format!("{name}-mended"));
    let bytes = fs::read(&second).expect("it is there");
    fs::write(segment(mended.path(), 2), bytes).expect("there is room");
    let (status, _, told) = run("diff", mended.path(), &[]);
    assert_eq!(status, 20, "{told}");
    assert!(!told.contains("recover_to"), "nobody here starts a node: {told}");
    let advice = told.split_once("`qnfsm ").and_then(|(_, rest)| rest.split_once('`')).expect("it says what to do").0;
    let arguments: Vec<&str> = advice.split(' ').collect();
    assert_eq!((arguments[0], arguments[1]), ("repair", &*mended.path().to_string_lossy()), "{advice}");
    let before = files(mended.path());
    let rehearsed = arena(&[&arguments[..], &["--dry-run"]].concat());
    assert!(rehearsed.status.success() && files(mended.path()) == before, "{rehearsed:?}");
    assert!(arena(&arguments).status.success(), "{advice}");
    (dir, mended)
}

fn object(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn diff_and_bisect_say_what_holds_of_the_sound_part_and_where_it_ends() {
    let _alone = alone();
    let (dir, mended) = damaged_and_mended("damaged");
    let before = files(dir.path());
    // The sound part is what is left when the rest is given up.
    let rounds = json("replay", mended.path(), &["--quiet"]).remove(0)["rounds"].as_u64().expect("a number");
    let grouped = json("describe", mended.path(), &[]).remove(0)["rounds"].as_u64().expect("a number");
    assert!(rounds > 100 && rounds == grouped, "{rounds} and {grouped}");
    for (command, verdict) in [("diff", "nothing differs in"), ("bisect", "all 1 invariants hold after each of")] {
        let (status, out, err) = run(command, dir.path(), &[]);
        assert_eq!(status, 20, "{command}: {err}");
        assert_eq!(out, format!("{verdict} {rounds} rounds, as far as it can be gone through\n"), "{command}");
        assert!(err.contains("00000002.qjl is damaged at byte") && err.contains("--end-at 2:"), "{command}: {err}");
        let (status, out, _) = run(command, dir.path(), &["--json"]);
        let object = object(&out);
        let stopped = if command == "diff" { &object["stopped"][0] } else { &object["stopped"] };
        assert_eq!(
            (status, &object["exit_status"], &stopped["error"]),
            (20, &20.into(), &"corrupt".into()),
            "{object}"
        );
        assert!(stopped["offset"].is_u64() && stopped["round"].is_u64(), "{object}");
        let (status, out, err) = run(command, mended.path(), &[]);
        assert_eq!((status, out, err.as_str()), (0, format!("{verdict} {rounds} rounds\n"), ""), "{command}");
    }
    assert_eq!(files(dir.path()), before, "nothing was changed");
}

#[test]
fn a_step_of_the_sound_part_is_gone_to_and_back_from() {
    let _alone = alone();
    let (dir, mended) = damaged_and_mended("stepped");
    let commands = ["--command", "end", "--command", "where", "--command", "back 20", "--command", "start"];
    let show = |dir: &Dir| run("debug", dir.path(), &commands);
    let ((status, out, err), (sound, expected, _)) = (show(&dir), show(&mended));
    assert_eq!((status, sound), (20, 0), "{err}");
    assert_eq!(out, expected, "what is shown is the same as where the rest is given up");
    assert!(out.lines().count() > 5, "{out}");
    assert!(err.contains("can be gone through up to") && err.contains("00000002.qjl"), "{err}");
    // A script that comes to something else says that.
    let (status, _, _) = run("debug", dir.path(), &["--command", "find kind == world and data.world.tick == 1000000"]);
    assert_eq!(status, 1);
}

#[test]
fn two_journals_of_which_one_is_damaged_are_compared_up_to_there() {
    let _alone = alone();
    let (dir, mended) = damaged_and_mended("compared");
    let (whole, bots) = (copy("server", "compared-whole"), copy("bots", "compared-bots"));
    let path = |dir: &Dir| dir.path().to_string_lossy().into_owned();
    for program in [Program::Arena, Program::Qnfsm] {
        for dirs in [[path(&dir), path(&whole)], [path(&whole), path(&dir)]] {
            let said = told(&call(program, &["diff", &dirs[0], &dirs[1]]));
            assert_eq!(said.status, 20, "{said:?}");
            assert!(said.out.contains("rounds, as far as it can be gone through\n"), "{said:?}");
            assert!(said.out.contains(" one goes on, with ") && said.err.contains("00000002.qjl"), "{said:?}");
            let said = told(&call(program, &["diff", &dirs[0], &dirs[1], "--json"]));
            let object = object(&said.out);
            assert_eq!((said.status, &object["equal"]), (20, &false.into()), "{object}");
            assert_eq!(object["stopped"].as_array().map(Vec::len), Some(1), "{object}");
        }
        // What differs before is a difference, whatever comes behind.
        let said = told(&call(program, &["diff", &path(&dir), &path(&bots)]));
        assert_eq!(said.status, 33, "{said:?}");
    }
    // Without the damage one goes on, as far as it was said.
    let shorter = told(&call(Program::Qnfsm, &["diff", &path(&mended), &path(&whole)]));
    assert_eq!(shorter.status, 34, "{shorter:?}");
}

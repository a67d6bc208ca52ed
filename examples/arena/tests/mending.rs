//! The commands that check and mend a directory, and what all commands say of one that they can't read, on a journal of the arena under
//! load, killed and recovered.

mod journals;

use std::{
    fs,
    process::{Command, Stdio},
};

use journals::{Dir, alone, copy, damage, files, json, middle, run, segment, serve};
use serde_json::Value;

#[test]
fn a_sound_directory_verifies_and_stray_files_are_remarks() {
    let _alone = alone();
    for node in ["server", "bots"] {
        let dir = copy(node, "sound");
        let before = files(dir.path());
        let verified = json("verify", dir.path(), &[]).remove(0);
        assert_eq!((&verified["sound"], &verified["findings"]), (&true.into(), &Value::Array(vec![])), "{node}");
        let described = json("describe", dir.path(), &[]).remove(0);
        for number in ["records", "rounds", "frames", "end"] {
            assert_eq!(verified[number], described[number], "{number}");
        }
        assert_eq!(files(dir.path()), before, "reading changes nothing");
    }
    let dir = copy("server", "stray");
    let strays = ["notes.txt", "journal/00000002.qjl.bak", "snapshots/0-12.qsn.4.tmp", "lost/00000001-77.1"];
    fs::create_dir_all(dir.path().join("lost")).expect("there is room");
    strays.iter().for_each(|name| fs::write(dir.path().join(name), "something").expect("there is room"));
    let snapshot = fs::read_dir(dir.path().join("snapshots")).expect("it is there").next().expect("there is one");
    fs::copy(snapshot.expect("it is there").path(), dir.path().join("snapshots/0-77777.qsn")).expect("there is room");
    let verified = json("verify", dir.path(), &[]).remove(0);
    let findings = verified["findings"].as_array().expect("a list");
    assert_eq!((&verified["sound"], findings.len()), (&true.into(), 5), "{verified}");
    assert!(findings.iter().all(|finding| finding["damage"] == false), "{verified}");
    let described = json("describe", dir.path(), &[]).remove(0);
    for snapshot in described["snapshots"].as_array().expect("a list") {
        assert_eq!(snapshot["counts"], snapshot["round"] != 77777, "{snapshot}");
    }
}

#[test]
fn each_damage_is_found_with_its_file_and_what_to_do() {
    let _alone = alone();
    let find = |harm: &dyn Fn(&Dir), file: &str| -> Value {
        let dir = copy("server", "damaged");
        harm(&dir);
        let (status, out, err) = run("verify", dir.path(), &["--json"]);
        let verified: Value = serde_json::from_str(out.trim()).unwrap_or_else(|error| panic!("{error}: {out} {err}"));
        assert_eq!((status, &verified["sound"]), (20, &false.into()), "{verified}");
        let finding = verified["findings"][0].clone();
        assert_eq!(finding["damage"], true, "{verified}");
        assert!(finding["file"].as_str().is_some_and(|it| it.contains(file)), "{file}: {finding}");
        assert!(finding["next"].is_string(), "{finding}");
        let unmarked = verified.to_string().contains("nothing in the journal marks it");
        assert!(!unmarked, "what marks a snapshot lies behind the damage: {verified}");
        let (status, text, _) = run("verify", dir.path(), &[]);
        assert!(status == 20 && text.contains("damaged") && text.contains(file), "{text}");
        finding
    };
    let first = |dir: &Dir| segment(dir.path(), 1);
    let found = find(&|dir| damage(&first(dir), middle(&first(dir))), "00000001.qjl");
    assert!(found["offset"].is_u64() && found["worker"].is_u64() && found["round"].is_u64(), "{found}");
    assert!(found["next"].as_str().is_some_and(|next| next.contains("--end-at 1:")), "{found}");
    find(&|dir| damage(&first(dir), 40), "00000001.qjl");
    find(&|dir| fs::remove_file(segment(dir.path(), 2)).expect("it is there"), "00000002.qjl");
    find(&|dir| damage(&dir.path().join("manifest"), 30), "manifest");
    let newest = |dir: &Dir| {
        let list = fs::read_dir(dir.path().join("snapshots")).expect("it is there");
        list.map(|entry| entry.expect("it is there").path()).next().expect("there is one")
    };
    let found = find(&|dir| damage(&newest(dir), middle(&newest(dir))), ".qsn");
    assert!(found["next"].as_str().is_some_and(|next| next.contains("--unusable-snapshots")), "{found}");
    let cut = |dir: &Dir| {
        let bytes = fs::read(first(dir)).expect("it is there");
        fs::write(first(dir), &bytes[..bytes.len() - 9]).expect("it can be written");
    };
    find(&cut, "00000001.qjl");
}

/// From the damage to a directory that replays equal, by the commands that are named on the way.
#[test]
fn a_damaged_journal_is_ended_where_verify_says_and_replays_equal_then() {
    let _alone = alone();
    let dir = copy("server", "repaired");
    damage(&segment(dir.path(), 2), middle(&segment(dir.path(), 2)));
    let damaged = files(dir.path());
    let (_, text, _) = run("verify", dir.path(), &[]);
    let (_, at) = text.split_once("--end-at ").unwrap_or_else(|| panic!("no position: {text}"));
    let at = at.split_whitespace().next().expect("a position follows");
    assert!(at.starts_with("2:"), "{at}");

    let (status, said, err) = run("repair", dir.path(), &["--end-at", at, "--dry-run"]);
    assert!(status == 0 && said.contains("would be done") && said.contains(at), "{status} {said} {err}");
    assert_eq!(files(dir.path()), damaged, "nothing was changed");
    let (status, _, err) = run("repair", dir.path(), &["--end-at", "2:4"]);
    assert!(status == 2 && err.contains("no record ends at 2:4"), "{status} {err}");
    assert_eq!(files(dir.path()), damaged, "nothing was changed");

    let mended = json("repair", dir.path(), &["--end-at", at]).remove(0);
    assert!(mended["repairs"][0]["what"].is_string(), "{mended}");
    let again = json("repair", dir.path(), &["--end-at", at, "--drop-tail", "--unusable-snapshots"]).remove(0);
    for repair in again["repairs"].as_array().expect("a list") {
        assert!(repair["what"].is_null(), "it was done: {repair}");
    }
    let verified = json("verify", dir.path(), &[]).remove(0);
    assert_eq!((&verified["sound"], &verified["end"]), (&true.into(), &at.into()), "{verified}");
    let replayed = json("replay", dir.path(), &["--quiet"]).remove(0);
    assert_eq!(replayed["equal"], true, "{replayed}");
    // All that went is kept, byte by byte.
    let offset: usize = at[2..].parse().expect("it is a position");
    let kept = files(&dir.path().join("lost"));
    let old = &damaged.iter().find(|(path, _)| path.ends_with("00000002.qjl")).expect("it was there").1;
    // But for zeros at the end, which may be what nobody wrote.
    let written = |bytes: &[u8]| bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)].to_vec();
    assert!(kept.iter().any(|(_, bytes)| *bytes == written(&old[offset..])), "the rest of the segment");
    let third = &damaged.iter().find(|(path, _)| path.ends_with("00000003.qjl")).expect("it was there").1;
    assert!(kept.iter().any(|(_, bytes)| bytes == third), "the next segment");
    // And a node goes on from there.
    let mut server = serve(&dir);
    assert!(server.line().contains("listening"));
    server.stop();
    assert_eq!(json("verify", dir.path(), &[]).remove(0)["sound"], true);
}

#[test]
fn a_cut_tail_is_said_and_dropped_when_that_is_asked_for() {
    let _alone = alone();
    let dir = copy("server", "cut");
    let last = segment(dir.path(), 3);
    let whole = fs::read(&last).expect("it is there");
    // What a crash leaves behind what is known to be on disk: half of a record.
    let torn = &whole[whole.len() - 60..whole.len() - 50];
    fs::write(&last, [&whole, torn].concat()).expect("it can be written");
    let described = json("describe", dir.path(), &[]).remove(0);
    assert!(described["lost"].as_str().is_some_and(|lost| lost.contains("10 bytes")), "{described}");
    let verified = json("verify", dir.path(), &[]).remove(0);
    assert_eq!(verified["sound"], true, "a crash is no damage: {verified}");
    assert!(verified["findings"][0]["next"].as_str().is_some_and(|next| next.contains("--drop-tail")), "{verified}");
    let (status, _, err) = run("repair", dir.path(), &["--drop-tail"]);
    assert_eq!(status, 0, "{err}");
    assert_eq!(fs::read(&last).expect("it is there"), whole);
    assert_eq!(files(&dir.path().join("lost")).remove(0).1, torn);
    assert_eq!(json("describe", dir.path(), &[]).remove(0)["lost"], Value::Null);
}

#[test]
fn snapshots_that_nobody_can_use_are_moved_aside_and_no_others() {
    let _alone = alone();
    let dir = copy("server", "aside");
    let snapshots = files(&dir.path().join("snapshots"));
    let (harmed, whole) = (&snapshots[0], &snapshots[1..]);
    damage(&harmed.0, middle(&harmed.0));
    let harmed_bytes = fs::read(&harmed.0).expect("it is there");
    let (status, said, err) = run("repair", dir.path(), &["--unusable-snapshots"]);
    assert!(status == 0 && said.contains("checksum is wrong"), "{said} {err}");
    assert_eq!(files(&dir.path().join("snapshots")), whole);
    assert_eq!(files(&dir.path().join("lost")).remove(0).1, harmed_bytes);
    assert_eq!(json("verify", dir.path(), &[]).remove(0)["sound"], true);
}

#[test]
fn what_is_no_node_s_directory_is_told_apart() {
    let dir = Dir::new("no-node");
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("empty")).expect("there is room");
    fs::create_dir_all(path("other/data")).expect("there is room");
    fs::write(path("file"), "text").expect("there is room");
    for command in ["describe", "dump", "stat", "verify", "snapshot"] {
        for (name, expected) in [("empty", 11), ("other", 10), ("file", 10), ("missing", 12)] {
            let (status, _, err) = run(command, &path(name), &[]);
            assert_eq!(status, expected, "{command} {name}: {err}");
            assert!(err.contains("give the"), "{command} {name}: {err}");
        }
    }
    for (name, expected) in [("empty", 11), ("other", 10), ("missing", 12)] {
        let (status, _, err) = run("repair", &path(name), &["--drop-tail"]);
        assert_eq!(status, expected, "repair {name}: {err}");
    }
    assert!(!path("missing").exists() && fs::read_dir(path("empty")).expect("it is there").next().is_none());
}

#[test]
fn a_pipe_that_closes_ends_a_command_in_silence() {
    let _alone = alone();
    let dir = copy("server", "pipe");
    let dir = dir.path().to_string_lossy();
    for command in ["describe", "dump", "stat", "verify", "snapshot"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_arena"));
        let mut child =
            child.args([command, &*dir]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // Before it has written anything.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
            (Some(0), ""),
            "{command}"
        );
    }
}

#[test]
fn where_a_node_runs_reading_is_refused_unless_it_is_asked_for_and_repairs_always() {
    let _alone = alone();
    let dir = copy("server", "running");
    let mut server = serve(&dir);
    assert!(server.line().contains("epoch 4"));
    for (command, arguments) in [
        ("describe", &[][..]),
        ("dump", &[]),
        ("stat", &[]),
        ("verify", &[]),
        ("snapshot", &[]),
        ("repair", &["--drop-tail"]),
        ("repair", &["--drop-tail", "--dry-run"]),
        ("repair", &["--end-at", "1:5000"]),
    ] {
        let (status, _, err) = run(command, dir.path(), arguments);
        assert!(status == 13 && err.contains("take a copy"), "{command}: {status} {err}");
        assert_eq!(err.contains("--live"), command != "repair", "{command}: {err}");
    }
    let described = json("describe", dir.path(), &["--live"]).remove(0);
    assert_eq!((&described["epochs"][3]["epoch"], &described["clean_stop"]), (&4.into(), &false.into()), "{described}");
    server.stop();
    assert_eq!(json("describe", dir.path(), &[]).remove(0)["clean_stop"], true);
}

//! `qnfsm dump` shows journals that real nodes wrote, without their kinds: everything by its name, as text and as JSON alike;
//! never a secret; and of a damaged one what comes before the damage.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod rig;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use qnfsm::{
    Codec, Context, Epoch, External, Fsm, Kinds, Limits, Next, NodeBuilder, NodeId, Place, RawQueueId, Recording,
    ReplyTo, RequestId, Secret, WorkerConfig, WorkerId,
    journal::{Journal, JournalOptions, Manifest, Outcome, Reached, Reader, RealFiles, Record, SegmentInfo, Storage},
};
use qnfsm_replay::{Options, replay};
use rig::{Order, PATIENCE, Teller, node};
use serde::{Deserialize, Serialize};
use serde_json::Value;

static ALONE: Mutex<()> = Mutex::new(());

/// One test at a time: a process that another one starts holds this one's files until it has become the program, and among them
/// the locks of directories that were let go of meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn dump(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qnfsm")).arg("dump").arg(dir).args(arguments).output().unwrap()
}

#[track_caller]
fn text(dir: &Path, arguments: &[&str]) -> String {
    let output = dump(dir, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn json(dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let text = text(dir, &[&["--json"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn of<'l>(lines: &'l [Value], what: &'l str) -> impl DoubleEndedIterator<Item = &'l Value> {
    lines.iter().filter(move |line| line["what"] == what)
}

/// A run of the rig's bank, with all that it does.
fn bank(dir: &Path, recording: Recording) {
    let limits = Limits { segment_bytes: 8192, snapshot_every_bytes: 8192, ..Limits::default() };
    for _ in 0..2 {
        let node = node(dir, recording).limits(limits).start(&Teller::<1>::default()).unwrap();
        for coins in 1..=100 {
            node.host().send(node.root(), &Order::Add(coins)).unwrap();
        }
        let _: u64 = node.host().request(node.root(), PATIENCE, Order::Count).unwrap();
        let _: u64 = node.host().request(node.root(), PATIENCE, Order::Quote).unwrap();
        let _: u64 = node.host().request(node.root(), PATIENCE, |reply| Order::AfterBeats(5, reply)).unwrap();
        node.stop().unwrap();
    }
}

#[test]
fn every_message_and_every_fsm_is_shown_by_its_names() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), Recording::Everything);
    let lines = json(dir.path(), &[]);

    let frames: Vec<_> = of(&lines, "frame").collect();
    let spawned = frames.iter().find(|frame| frame["class"] == "spawn" && frame["type"] == "till").unwrap();
    assert_eq!((&spawned["worker"], &spawned["value"]), (&1.into(), &serde_json::json!({ "coins": 0 })));
    let added: Vec<_> = frames.iter().filter_map(|frame| frame["value"]["Add"].as_u64()).collect();
    assert_eq!(added, (1..=100).chain(1..=100).collect::<Vec<_>>(), "each order, once and in order");
    let put: Vec<_> = frames.iter().filter_map(|frame| frame["value"]["Put"].as_u64()).collect();
    assert_eq!(put, added, "and what it became between the workers");
    assert!(frames.iter().all(|frame| frame["value"]["$note"].is_null()), "nothing is shown in hex");

    let delivered: Vec<_> = of(&lines, "delivery").collect();
    let counted = delivered.iter().filter(|delivery| delivery["kind"] == "till" && delivery["message"]["Put"].is_u64());
    assert_eq!(counted.count(), 200);
    let opened = delivered.iter().find(|delivery| delivery["message"]["Opened"].is_object()).unwrap();
    assert_eq!((&opened["state"], &opened["handler"]), (&"Open".into(), &"handle".into()));
    let till = opened["message"]["Opened"]["outcome"]["Ok"].as_str().unwrap();
    assert!(till.starts_with("w1/"), "{till}");

    assert_eq!(of(&lines, "external").map(|it| &it["port"]).collect::<Vec<_>>(), ["price"; 4]);
    assert!(of(&lines, "external").all(|it| it["hex"].is_null()), "answers may hold secrets");
    let answers = json(dir.path(), &["--answers"]);
    assert_eq!(of(&answers, "external").map(|it| &it["hex"]).collect::<Vec<_>>(), ["01", "02", "01", "02"]);

    // The last snapshot of each worker is of its end.
    let last = |kind: &str| of(&lines, "fsm").rfind(|fsm| fsm["kind"] == kind).cloned().unwrap();
    assert_eq!(last("till")["data"], serde_json::json!({ "coins": 10100 }));
    assert_eq!((&last("teller")["data"]["total"], &last("teller")["state"]), (&10100.into(), &"Open".into()));
    assert_eq!(last("teller")["data"]["till"], till);
    let beat = of(&lines, "timer").next_back().unwrap();
    assert_eq!(
        (&beat["name"], &beat["every_ns"], &beat["message"]),
        (&"beat".into(), &1_000_000.into(), &"Beat".into())
    );

    for what in ["segment", "worker_started", "round", "digest_mark", "snapshot", "sync_mark", "clean_stop"] {
        assert!(of(&lines, what).next().is_some(), "no {what}");
    }
    let summary = lines.last().unwrap();
    assert_eq!(
        (&summary["what"], &summary["kinds"], &summary["kinds_opaque"]),
        (&"summary".into(), &2.into(), &0.into())
    );
    assert_eq!(summary["frames"], frames.len());
    assert_eq!(summary["rounds"], of(&lines, "round").count());
}

/// Beside what JSON has for machines, both have one line for the same, with the same values in it.
#[test]
fn text_and_json_say_the_same() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), Recording::Everything);
    let (text, lines) = (text(dir.path(), &[]), json(dir.path(), &[]));
    let texts: Vec<_> = text.lines().collect();
    assert_eq!(texts.len(), lines.len() - 1 + 2, "one line for each, and two of the summary");
    for (text, line) in texts.iter().zip(&lines) {
        let shown = |name: &str| line[name].as_str().is_some_and(|it| text.contains(it));
        let said = match line["what"].as_str().unwrap() {
            "frame" => shown("class") && shown("to") && shown("from") && text.contains(&short_type(line)),
            "delivery" => shown("queue") && shown("kind") && shown("handler"),
            "fsm" => shown("queue") && shown("kind"),
            "round" => shown("time"),
            "digest_mark" => shown("digest"),
            "external" => shown("port"),
            "timer" => shown("name") && shown("deadline"),
            _ => true,
        };
        assert!(said, "{text}\n{line}");
        for name in ["value", "message", "data", "state"] {
            all_numbers(&line[name]).iter().for_each(|number| assert!(text.contains(number), "{number}: {text}"));
        }
        if line["what"] == "summary" {
            break;
        }
        assert!(
            text.starts_with(' ')
                || line["offset"] == 0
                || text.starts_with(&format!("{}:{} ", line["segment"], line["offset"]))
        );
    }
}

/// A text names types without their modules.
fn short_type(line: &Value) -> String {
    line["type"].as_str().map(qnfsm::schema::short_name).unwrap_or_default()
}

fn all_numbers(value: &Value) -> Vec<String> {
    match value {
        Value::Number(number) => vec![number.to_string()],
        Value::Array(parts) => parts.iter().flat_map(all_numbers).collect(),
        Value::Object(parts) => parts.values().flat_map(all_numbers).collect(),
        _ => vec![],
    }
}

#[test]
fn a_worker_and_some_rounds_can_be_shown_alone() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), Recording::Inputs);
    let all = json(dir.path(), &[]);
    let some = json(dir.path(), &["--worker", "1", "--from-round", "2", "--to-round", "3", "--no-snapshots"]);
    let wanted = |line: &&Value| line["worker"] == 1 && [2, 3].iter().any(|round| line["round"] == *round);
    let in_snapshot = |line: &Value| {
        ["fsm", "waiting", "timer", "request", "monitors", "snapshot"].iter().any(|it| line["what"] == *it)
    };
    let expected: Vec<_> = all.iter().filter(wanted).filter(|line| !in_snapshot(line)).collect();
    let shown: Vec<_> = some.iter().filter(|line| line["worker"].is_u64() && !in_snapshot(line)).collect();
    assert!(!expected.is_empty());
    assert_eq!(shown, expected);
    assert!(of(&some, "fsm").next().is_none());
    assert_eq!(
        some.last(),
        all.last()
            .map(|summary| {
                let mut summary = summary.clone();
                summary["snapshots"] = 0.into();
                summary["fsms"] = 0.into();
                summary
            })
            .as_ref()
    );
}

/// Holds a password in its data, its state and its messages. One that is `OTHER` goes to another state.
#[derive(Serialize, Deserialize)]
struct Vault<const OTHER: u8> {
    word: Secret<String>,
    words: Vec<(u8, Secret<String>)>,
    opened: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Door {
    Shut,
    Open(Secret<[u8; 8]>),
}

#[derive(Debug, Serialize, Deserialize)]
enum Knock {
    Say(Secret<String>, ReplyTo<Secret<String>>),
    Later { word: Secret<String>, code: Secret<u64> },
    Ask(ReplyTo<u64>),
}

struct Oracle;

impl External for Oracle {
    const NAME: &'static str = "oracle";
    type Question = u8;
    type Answer = Secret<String>;
}

impl<const OTHER: u8> Fsm for Vault<OTHER> {
    const NAME: &'static str = "vault";
    type State = Door;
    type Message = Knock;

    fn start(&mut self, cx: &mut Context<'_, Self>) -> Door {
        let (word, code) = (Secret::new(WORD.to_owned()), Secret::new(CODE));
        cx.timer("later", Duration::from_secs(3600), Knock::Later { word, code });
        Door::Shut
    }

    fn handle(&mut self, _: Door, knock: Knock, cx: &mut Context<'_, Self>) -> Next<Self> {
        match knock {
            Knock::Say(word, reply) => {
                self.words.push((1, word.clone()));
                self.opened += 1;
                let _ = cx.external::<Oracle>(&7);
                cx.reply(reply, word);
                let mut opens = *b"OPENSESA";
                opens[7] += OTHER;
                return Next::Goto(Door::Open(Secret::new(opens)));
            }
            Knock::Ask(reply) if self.opened > 0 => cx.reply(reply, self.opened),
            other => return Next::Postpone(other),
        }
        Next::Stay
    }
}

const WORD: &str = "xyzzy-plugh-plover";
const CODE: u64 = 0x5ec2_e7c0_de5e_c2e7;

fn vaults<const OTHER: u8>() -> Kinds {
    Kinds::new().with::<Vault<OTHER>>().message::<u64>().message::<Secret<String>>()
}

fn vault(dir: &Path) {
    let builder = NodeBuilder::new("bank", vaults::<0>()).dir(dir).recording(Recording::Everything);
    let root = Vault::<0> { word: WORD.to_owned().into(), words: vec![], opened: 0 };
    let node = builder.external::<Oracle>(|_| Secret::new(WORD.to_owned())).start(&root).unwrap();
    node.host().send(node.root(), &Knock::Later { word: WORD.to_owned().into(), code: CODE.into() }).unwrap();
    let told: Secret<String> =
        node.host().request(node.root(), PATIENCE, |reply| Knock::Say(WORD.to_owned().into(), reply)).unwrap();
    assert_eq!(told.expose(), WORD);
    let _: u64 = node.host().request(node.root(), PATIENCE, Knock::Ask).unwrap();
    node.stop().unwrap();
}

/// What would give a secret away, as text and in hex.
fn secrets() -> Vec<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let list = |bytes: &[u8]| bytes.iter().map(u8::to_string).collect::<Vec<_>>();
    let mut secrets = vec![WORD.to_owned(), hex(WORD.as_bytes()), hex(b"OPENSESA"), "OPENSESA".to_owned()];
    secrets.extend([CODE.to_string(), hex(&CODE.to_le_bytes()), format!("{CODE:x}")]);
    secrets.extend([list(b"OPENSESA").join(", "), list(b"OPENSESA").join(",")]);
    secrets
}

#[track_caller]
fn hides_secrets(output: &Output) {
    for shown in [&output.stdout, &output.stderr] {
        let shown = String::from_utf8_lossy(shown).to_lowercase();
        for secret in secrets() {
            assert!(!shown.contains(&secret.to_lowercase()), "{secret} in {shown}");
        }
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    vault(dir.path());
    let journal = fs::read(dir.path().join("journal/00000001.qjl")).unwrap();
    assert!(journal.windows(WORD.len()).any(|window| window == WORD.as_bytes()), "it is recorded");
    for arguments in [&[][..], &["--json"], &["--chars", "7"], &["--json", "--chars", "40"]] {
        let output = dump(dir.path(), arguments);
        assert!(output.status.success());
        hides_secrets(&output);
    }
    let text = text(dir.path(), &[]);
    assert!(
        text.contains("Vault { word: Secret(…), words: [(1, Secret(…))], opened: 1 } in Open(Secret(…))"),
        "{text}"
    );
    assert!(text.contains("postponed") && text.contains("Later { word: Secret(…), code: Secret(…) }"), "{text}");
    let lines = json(dir.path(), &[]);
    let said = of(&lines, "frame").find(|frame| frame["value"]["Say"].is_array()).unwrap();
    assert_eq!(said["value"]["Say"][0], "(secret)");
    assert_eq!(lines.last().unwrap()["opaque"], serde_json::json!([]));
}

#[test]
fn a_replay_that_differs_in_a_secret_says_so_and_not_in_which() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    vault(dir.path());
    let error = replay(dir.path(), vaults::<1>(), &Options::new()).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("the state after it: message Say(Secret(…), ReplyTo"), "{told}");
    assert!(told.contains("state Open(Secret(…)) (equal in the first 15 characters, differs from byte 8 on"), "{told}");
    for secret in secrets() {
        assert!(!told.contains(&secret), "{told}");
    }
}

#[test]
fn a_journal_with_every_kind_of_record_is_shown() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), Recording::Inputs);
    let (worker, round) = (WorkerId(300), 1 << 60);
    let asked = Some((RawQueueId::new(NodeId(7), Place::worker(WorkerId(2)), 130, 9), RequestId(u64::MAX)));
    let at = Reached { delivery: 1000, seat: (3, 200), values: 4 };
    let mut config = Vec::new();
    Codec::CURRENT.encode(&WorkerConfig { seed: u64::MAX, ..WorkerConfig::default() }, &mut config).unwrap();
    let epoch = append(dir.path(), |epoch| {
        vec![
            Record::WorkerStarted { worker, epoch, config: &config, request: asked },
            Record::WorkerStopped { worker, round, digest: 5 },
            Record::External { worker, round, port: "würfel\u{1b}[2J", answer: b"four" },
            Record::Version { worker, round, name: "rabatt\u{1b}[2J", version: 3 },
            Record::Configured { worker, round, config: &config },
            Record::Skipped { worker, round, at, stops: true },
            Record::Attempt { worker, round, at: Some(at), outcome: Outcome::TimedOut },
            Record::WorkerKept { worker, request: asked },
            Record::CleanStop { epoch },
        ]
    });
    let shown = text(dir.path(), &["--worker", "300"]);
    let shown: Vec<_> = shown.lines().filter_map(|line| Some(line.split_once("w300")?.1.trim())).collect();
    assert_eq!(
        shown,
        [
            &format!(
                "worker started in epoch {epoch}, asked for by n7:w2/130.9, request 18446744073709551615: seed \
             18446744073709551615, records inputs, 32 messages a turn, 4000000 FSMs at most"
            ),
            "#1152921504606846976 worker stopped, digest 0000000000000005",
            r"#1152921504606846976 port `würfel\u{1b}[2J` answered 4 bytes",
            r"#1152921504606846976 version 3 of `rabatt\u{1b}[2J` from here on",
            "#1152921504606846976 configured: seed 18446744073709551615, records inputs, 32 messages a turn, 4000000 FSMs at most",
            "#1152921504606846976 skipped delivery 1000, to slot 3.200, after 4 values from outside, and its FSM stopped",
            "#1152921504606846976 the round has not ended in its time, at delivery 1000, to slot 3.200, after 4 values from outside",
            "worker kept, whose start may be gone, asked for by n7:w2/130.9, request 18446744073709551615",
        ]
    );
    let lines = json(dir.path(), &["--worker", "300"]);
    let kept = of(&lines, "worker_kept").next().unwrap();
    assert_eq!((&kept["request"], &kept["asked_by"]), (&"18446744073709551615".into(), &"n7:w2/130.9".into()));
    assert_eq!(of(&lines, "attempt").next().unwrap()["delivery"]["generation"], 200);
}

/// Writes records behind a journal, in an epoch of their own.
fn append<'r>(dir: &Path, records: impl FnOnce(Epoch) -> Vec<Record<'r, &'r [qnfsm::frame::BatchRef<'r>]>>) -> u32 {
    let storage: Arc<dyn Storage> = Arc::new(RealFiles);
    let mut reader = Reader::open(storage.clone(), dir).unwrap();
    while reader.next().unwrap().is_some() {}
    let (tail, info) = (reader.tail().unwrap().clone(), reader.header().unwrap().info.clone());
    let manifest = reader.manifest().clone();
    drop(reader);
    let (epoch, epoch_random) = (Epoch(manifest.epoch.0 + 1), 77);
    Manifest { epoch, epoch_random, ..manifest }.store(&*storage, dir).unwrap();
    let info = SegmentInfo { epoch, epoch_random, ..info };
    let journal = Journal::begin(storage, dir, info, Some(&tail), JournalOptions::default()).unwrap();
    for record in records(epoch) {
        journal.write(&record).unwrap();
    }
    journal.sync().unwrap();
    journal.close();
    epoch.0
}

#[test]
fn deliveries_of_a_round_are_numbered_through_all_records_of_it() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), Recording::Everything);
    let mut reader = Reader::open(Arc::new(RealFiles), dir.path()).unwrap();
    let entries = loop {
        if let Record::Deliveries { entries, .. } = reader.next().unwrap().expect("everything was recorded").record {
            break entries.to_vec();
        }
    };
    drop(reader);
    let of_round = |round| Record::Deliveries { worker: WorkerId(300), round, entries: &entries };
    append(dir.path(), |_| vec![of_round(7), of_round(7), of_round(8)]);
    let lines = json(dir.path(), &["--worker", "300"]);
    let numbers: Vec<_> = of(&lines, "delivery").map(|it| (it["round"].as_u64(), it["number"].as_u64())).collect();
    let count = u64::try_from(numbers.len() / 3).unwrap();
    let expected = (1..=2 * count).map(|number| (Some(7), Some(number)));
    assert_eq!(numbers, expected.chain((1..=count).map(|number| (Some(8), Some(number)))).collect::<Vec<_>>());
}

/// Nobody but its program knows what it looks like.
#[derive(Debug, Serialize)]
struct Odd(u8);

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Odd, D::Error> {
        match u8::deserialize(deserializer)? {
            number @ (42 | 77) => Ok(Odd(number)),
            _ => Err(serde::de::Error::custom("neither 42 nor 77")),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Oddity {
    odd: Odd,
}

impl Fsm for Oddity {
    const NAME: &'static str = "oddity";
    type State = ();
    type Message = Odd;

    fn start(&mut self, _: &mut Context<'_, Self>) {}

    fn handle(&mut self, (): (), odd: Odd, _: &mut Context<'_, Self>) -> Next<Self> {
        self.odd = odd;
        Next::Stay
    }
}

#[test]
fn what_stayed_opaque_is_shown_in_hex_and_counted() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let node = NodeBuilder::new("odd", Kinds::new().with::<Oddity>()).dir(dir.path()).start(&Oddity { odd: Odd(42) });
    let node = node.unwrap();
    node.host().send(node.root(), &Odd(77)).unwrap();
    node.stop().unwrap();
    let shown = text(dir.path(), &[]);
    assert!(shown.contains("Odd: (opaque; 1 byte: 4d)"), "{shown}");
    assert!(shown.ends_with("1 kind, 1 opaque; 5 message types, 1 opaque\n"), "{shown}");
    assert!(shown.contains("opaque: data of kind oddity: ") && shown.contains("opaque: message type dump::Odd: "));
    let lines = json(dir.path(), &[]);
    let fsm = of(&lines, "fsm").next().unwrap();
    assert!(
        fsm["data"]["$hex"].as_str().unwrap().starts_with("4d") && fsm["note"].as_str().unwrap().contains("opaque"),
        "{fsm}"
    );
}

#[test]
fn a_record_that_makes_no_sense_is_named_and_those_behind_it_shown() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), Recording::Inputs);
    append(dir.path(), |epoch| {
        vec![
            Record::Deliveries { worker: WorkerId(0), round: 1, entries: b"\x05none" },
            Record::Configured { worker: WorkerId(0), round: 1, config: b"\xff" },
            Record::CleanStop { epoch },
        ]
    });
    let output = dump(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(20));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown.matches("not understood: ").count(), 2, "{shown}");
    assert!(shown.contains("clean stop of epoch 3") && shown.contains("2 kinds, 0 opaque"), "{shown}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(".qjl at byte ") && error.contains("a delivery"), "{error}");
}

#[test]
fn a_damaged_journal_is_shown_up_to_the_damage() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), Recording::Everything);
    let whole = text(dir.path(), &[]);
    let lines = json(dir.path(), &[]);
    let segments = of(&lines, "segment").count();
    assert!(segments > 3, "segments are short here");
    // Not the first record of a segment: nobody gets to see the header before such a one.
    let rounds = lines.windows(2).filter(|pair| pair[1]["what"] == "round" && pair[0]["what"] != "segment");
    let round = rounds.map(|pair| &pair[1]).rfind(|it| it["segment"].as_u64() < u64::try_from(segments).ok()).unwrap();
    let (segment, at) = (round["segment"].as_u64().unwrap(), round["offset"].as_u64().unwrap());
    let file = dir.path().join(format!("journal/{segment:08}.qjl"));
    let mut bytes = fs::read(&file).unwrap();
    bytes[usize::try_from(at).unwrap() + 30] ^= 1;
    fs::write(&file, bytes).unwrap();

    let output = dump(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(20));
    let shown = String::from_utf8(output.stdout).unwrap();
    let before = &whole[..whole.find(&format!("\n{segment}:{at} ")).unwrap() + 1];
    assert!(shown.starts_with(before), "all that comes before is shown");
    assert!(shown[before.len()..].contains("2 kinds, 0 opaque"), "and a summary of it");
    assert!(!shown.contains(&format!("\n{segment}:{at} ")), "and nothing behind it");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("is damaged at byte {at}")), "{error}");
    let output = dump(dir.path(), &["--json"]);
    let last: Value = serde_json::from_slice(output.stdout.split(|byte| *byte == b'\n').nth_back(1).unwrap()).unwrap();
    assert_eq!((&last["what"], &last["error"], &last["offset"]), (&"error".into(), &"corrupt".into(), &at.into()));
}

#[test]
fn a_damaged_snapshot_is_named_where_it_stands_and_in_the_end() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), Recording::Inputs);
    let lines = json(dir.path(), &[]);
    let last = of(&lines, "snapshot").rfind(|it| it["file"]["is"] == "sound").unwrap();
    let name = format!("snapshots/{}-{}.qsn", last["worker"], last["round"]);
    let mut bytes = fs::read(dir.path().join(&name)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(dir.path().join(&name), bytes).unwrap();
    let output = dump(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(20));
    let (shown, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(shown.contains("snapshot, which can't be shown: ") && shown.contains("clean stop of epoch 2"), "{shown}");
    assert!(error.contains(&name), "{error}");
}

#[test]
fn directories_that_cant_be_read_end_as_a_replay_does() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(dump(dir.path(), &[]).status.code(), Some(11));
    assert_eq!(dump(&dir.path().join("none"), &[]).status.code(), Some(12));
    fs::write(dir.path().join("file"), "no node's").unwrap();
    assert_eq!(dump(dir.path(), &[]).status.code(), Some(10));
    assert_eq!(dump(dir.path(), &["--strange"]).status.code(), Some(2));
    let dir = tempfile::tempdir().unwrap();
    let running = node(dir.path(), Recording::Inputs).start(&Teller::<1>::default()).unwrap();
    assert_eq!(dump(dir.path(), &[]).status.code(), Some(13));
    running.stop().unwrap();
    let before: BTreeMap<_, _> = files(dir.path());
    text(dir.path(), &[]);
    assert_eq!(files(dir.path()), before, "reading changes nothing");
}

fn files(dir: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn whoever_has_read_enough_ends_it_quietly() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    bank(dir.path(), Recording::Everything);
    let mut command = Command::new(env!("CARGO_BIN_EXE_qnfsm"));
    let command = command.arg("dump").arg(dir.path()).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    // A small buffer, so that more is left than a pipe holds.
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
}

/// Prints the seed; `QNFSM_DUMP_SEED=<seed> cargo test -p qnfsm-replay --test dump hostile` runs it again.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test is no FSM")]
fn hostile_bytes_end_in_a_status_and_never_in_a_panic() {
    let _alone = alone();
    let seed = std::env::var("QNFSM_DUMP_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("again with: QNFSM_DUMP_SEED={seed} cargo test -p qnfsm-replay --test dump hostile");
    let mut state = seed;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let dir = tempfile::tempdir().unwrap();
    vault(dir.path());
    let sound = files(dir.path());
    let targets: Vec<_> = sound.keys().filter(|path| sound[*path].len() > 100).cloned().collect();
    for _ in 0..60 {
        let target = &targets[random(targets.len())];
        let mut bytes = sound[target].clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            bytes[at] ^= 1 << random(8);
        }
        fs::write(target, bytes).unwrap();
        for arguments in [&[][..], &["--json"]] {
            let output = dump(dir.path(), arguments);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0 | 20 | 21)), "seed {seed}: {:?} {error}", output.status);
            assert!(!error.contains("panicked"), "seed {seed}: {error}");
            hides_secrets(&output);
        }
        fs::write(target, &sound[target]).unwrap();
    }
}

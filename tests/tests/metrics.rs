//! What is published through the `metrics` facade: every name of the guide's table with its labels and nothing else, with the values
//! that the node has; and of a replay nothing but the divergences that it finds.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and waits no longer than it should"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, Once},
    time::{Duration, Instant},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use qnfsm::{
    Context, Durations, Fsm, Kinds, Next, Node, NodeBuilder, NodeMetrics, NodeRequest, QueueId, ReplyTo, StartError,
    WorkerId, journal::simulated::SimulatedDisk, playback::PlaybackError,
};
use qnfsm_replay::{Options, ReplayError, replay};
use serde::{Deserialize, Serialize};

const DIR: &str = "/node";
const PATIENCE: Duration = Duration::from_secs(20);

/// What was published under one name with one set of labels.
#[derive(Debug, Clone, Default, PartialEq)]
struct Published {
    kind: &'static str,
    /// A counter's or gauge's; the sum of a histogram's.
    value: f64,
    /// How many values a histogram has.
    count: u64,
}

type Labels = BTreeMap<String, String>;

/// What all nodes of this process published and described.
#[derive(Debug, Default)]
struct Board {
    published: BTreeMap<(String, Labels), Published>,
    described: BTreeMap<String, (&'static str, Option<Unit>, String)>,
}

static BOARD: Mutex<Board> = Mutex::new(Board { published: BTreeMap::new(), described: BTreeMap::new() });

fn board() -> MutexGuard<'static, Board> {
    BOARD.lock().unwrap()
}

/// One of them, as the facade hands it out.
struct Cell(String, Labels);

impl Cell {
    fn of(key: &Key, kind: &'static str) -> Arc<Cell> {
        let labels: Labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        let cell = Cell(key.name().to_owned(), labels);
        cell.change(|published| published.kind = kind);
        Arc::new(cell)
    }

    fn change(&self, change: impl FnOnce(&mut Published)) {
        change(board().published.entry((self.0.clone(), self.1.clone())).or_default());
    }
}

impl CounterFn for Cell {
    fn increment(&self, by: u64) {
        self.change(|published| published.value += by as f64);
    }
    fn absolute(&self, value: u64) {
        self.change(|published| published.value = published.value.max(value as f64));
    }
}

impl GaugeFn for Cell {
    fn increment(&self, by: f64) {
        self.change(|published| published.value += by);
    }
    fn decrement(&self, by: f64) {
        self.change(|published| published.value -= by);
    }
    fn set(&self, value: f64) {
        self.change(|published| published.value = value);
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        self.change(|published| {
            published.value += value;
            published.count += 1;
        });
    }
}

struct Writer;

fn describe(key: KeyName, kind: &'static str, unit: Option<Unit>, text: SharedString) {
    board().described.insert(key.as_str().to_owned(), (kind, unit, text.to_string()));
}

impl Recorder for Writer {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        describe(key, "counter", unit, text);
    }
    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        describe(key, "gauge", unit, text);
    }
    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        describe(key, "histogram", unit, text);
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Cell::of(key, "counter"))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Cell::of(key, "gauge"))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Cell::of(key, "histogram"))
    }
}

fn record() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| metrics::set_global_recorder(Writer).unwrap());
}

/// What was published of a program.
fn of_program(program: &str) -> BTreeMap<(String, Labels), Published> {
    let published = board().published.clone();
    published.into_iter().filter(|((_, labels), _)| labels["program"] == program).collect()
}

/// Adds `STEP` whenever it is asked to, and says how much it has.
#[derive(Serialize, Deserialize)]
struct Adder<const STEP: u64>(u64);

#[derive(Serialize, Deserialize)]
enum Add {
    Step(ReplyTo<u64>),
    Later,
}

impl<const STEP: u64> Fsm for Adder<STEP> {
    const NAME: &'static str = "adder";
    type State = ();
    type Message = Add;
    fn start(&mut self, _: &mut Context<'_, Self>) {}
    fn handle(&mut self, (): (), message: Add, cx: &mut Context<'_, Self>) -> Next<Self> {
        match message {
            Add::Step(reply) => {
                self.0 += STEP;
                cx.reply(reply, self.0);
                Next::Stay
            }
            Add::Later => Next::Postpone(message),
        }
    }
}

fn kinds<const STEP: u64>() -> Kinds {
    Kinds::new().with::<Adder<STEP>>().message::<u64>()
}

/// A node whose adder has added thrice, with a dead letter, something that waits, and a second worker.
fn busy(program: &str, builder: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Node<Add> {
    record();
    let node = builder(NodeBuilder::new(program, kinds::<1>())).start(&Adder::<1>(0)).unwrap();
    let host = node.host();
    let requests = NodeRequest::queue(node.root().raw().node());
    host.request::<_, WorkerId>(requests, PATIENCE, |reply| NodeRequest::StartWorker { reply }).unwrap();
    host.send(node.root(), &Add::Later).unwrap();
    host.send(QueueId::<u64>::from_raw(node.root().raw()), &1).unwrap();
    (1..=3).for_each(|sum| assert_eq!(host.request(node.root(), PATIENCE, Add::Step).unwrap(), sum));
    node
}

/// The rows of the guide's table: name, kind and labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/guide.md");
    let text = fs::read_to_string(guide).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `qnfsm_"));
    let rows = rows.map(|line| {
        let [_, name, kind, labels, ..] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{line} is no row of the table of metrics")
        };
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned()).collect();
        (name.trim_matches('`').to_owned(), (kind.to_owned(), labels))
    });
    rows.collect()
}

#[test]
fn every_name_of_the_guide_is_published_with_its_labels_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let node = busy("documented", |builder| builder.dir(DIR).storage(disk.storage()));
    let killed = disk.copy();
    node.stop().unwrap();
    assert!(matches!(diverging_start("documented", &killed), StartError::Playback { .. }));
    busy("documented", |builder| builder.dir(dir.path())).stop().unwrap();
    replay(dir.path(), kinds::<2>(), &Options::new()).unwrap_err();

    let published: BTreeMap<_, _> = of_program("documented")
        .into_iter()
        .map(|((name, labels), published)| (name, (published.kind.to_owned(), labels.into_keys().collect())))
        .collect();
    let documented = documented();
    assert!(documented.len() >= 30, "{documented:?}");
    assert_eq!(published, documented);
    for (name, (kind, unit, text)) in &board().described {
        assert_eq!(kind, &documented[name].0, "{name}");
        let by_name = match name {
            name if name.ends_with("_seconds") => Unit::Seconds,
            name if name.trim_end_matches("_total").ends_with("_bytes") => Unit::Bytes,
            _ => Unit::Count,
        };
        assert_eq!((*unit, name.ends_with("_total")), (Some(by_name), *kind == "counter"), "{name}");
        assert!(text.ends_with('.'), "{name}: {text}");
    }
    assert!(board().described.keys().eq(documented.keys()));
}

/// Starts a node with other code on what a kill left.
fn diverging_start(program: &str, killed: &SimulatedDisk) -> StartError {
    let builder = NodeBuilder::new(program, kinds::<2>()).dir(DIR).storage(killed.storage());
    builder.start(&Adder::<2>(0)).unwrap_err()
}

/// All that a node knows of itself, by the name and labels under which it is published.
fn as_published(program: &str, metrics: &NodeMetrics) -> BTreeMap<(String, Labels), f64> {
    let NodeMetrics { epoch, held_bytes, budget_bytes, workers, journal, .. } = metrics;
    let labels = |more: &[(&str, &str)]| -> Labels {
        let all = [("program", program), ("node", "0")].into_iter().chain(more.iter().copied());
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
    let journal = journal.as_ref().unwrap();
    let Durations { count: syncs, .. } = journal.syncs;
    let mut values = BTreeMap::new();
    let mut put = |name: &str, more: &[(&str, &str)], value: f64| {
        values.insert((format!("qnfsm_{name}"), labels(more)), value);
    };
    put("epoch", &[], f64::from(epoch.0));
    put("phase", &[], 2.0);
    put("held_bytes", &[], *held_bytes as f64);
    put("budget_bytes", &[], *budget_bytes as f64);
    put("journal_written_bytes_total", &[], journal.written_bytes as f64);
    put("journal_synced_bytes_total", &[], journal.synced_bytes as f64);
    put("journal_lag_bytes", &[], journal.lag_bytes as f64);
    put("journal_lag_seconds", &[], seconds(journal.lag_ns));
    put("journal_syncs_total", &[], syncs as f64);
    put("journal_sync_seconds", &[], seconds(journal.syncs.sum_ns));
    put("journal_segments", &[], journal.segments as f64);
    put("retained_bytes", &[], journal.retained_bytes() as f64);
    put("retained_segment_bytes", &[], journal.segment_bytes as f64);
    put("retained_snapshot_bytes", &[], journal.snapshot_bytes as f64);
    put("retained_prepared_bytes", &[], journal.prepared_bytes as f64);
    for worker in workers {
        let number = worker.worker.0.to_string();
        let mut put = |name: &str, value: f64| put(name, &[("worker", &number)], value);
        put("rounds_total", worker.rounds as f64);
        put("messages_total", worker.messages as f64);
        put("panics_total", worker.panics as f64);
        put("fsms", f64::from(worker.fsms));
        put("round_running_seconds", seconds(worker.round_ns));
        put("inbox_batches", worker.inbox_batches as f64);
        put("inbox_bytes", worker.inbox_bytes as f64);
        put("inbox_lag_seconds", seconds(worker.inbox_lag_ns));
        put("waiting_bytes", worker.waiting_bytes as f64);
        put("leaving_bytes", worker.leaving_bytes as f64);
        put("largest_queue_bytes", worker.largest_queues.first().map_or(0, |queue| queue.bytes) as f64);
        put("snapshots_total", worker.snapshot_pauses.count as f64);
        put("snapshot_bytes", worker.snapshot_bytes as f64);
        if worker.snapshot_pauses.count != 0 {
            put("snapshot_pause_seconds", seconds(worker.snapshot_pauses.sum_ns));
        }
    }
    for worker in workers {
        for (why, count) in &worker.dead_letters {
            put(
                "dead_letters_total",
                &[("worker", &worker.worker.0.to_string()), ("reason", why.name())],
                *count as f64,
            );
        }
    }
    values
}

#[test]
fn what_is_published_at_a_nodes_end_is_what_it_knows_of_itself() {
    let disk = SimulatedDisk::default();
    let node = busy("valued", |builder| builder.dir(DIR).storage(disk.storage()));
    let host = node.host();
    node.stop().unwrap();
    let known = as_published("valued", &host.metrics());
    let mut published = of_program("valued");
    // It goes on, and was published a moment before.
    published.retain(|(name, _), _| name != "qnfsm_uptime_seconds");
    // Reasons that did not occur are published all the same.
    published.retain(|(name, _), published| name != "qnfsm_dead_letters_total" || published.value != 0.0);
    assert!(published.keys().eq(known.keys()), "{published:#?} are published, {known:#?} known");
    for (key, published) in &published {
        let known = known[key];
        assert!(
            (published.value - known).abs() <= known * 1e-9,
            "{key:?}: {} is published, {known} known",
            published.value
        );
    }
    let (snapshots, syncs) = ("qnfsm_snapshot_pause_seconds", "qnfsm_journal_sync_seconds");
    let counts = published.iter().filter(|(_, published)| published.kind == "histogram");
    let counts: Vec<_> = counts.map(|((name, _), published)| (name.as_str(), published.count)).collect();
    let journal = host.metrics().journal.unwrap();
    assert_eq!(counts, [(syncs, journal.syncs.count), (snapshots, 1)]);
}

#[test]
fn it_is_published_while_the_node_runs() {
    let node = busy("running", |builder| builder);
    let messages = || {
        let messages = of_program("running").into_iter().filter(|((name, _), _)| name == "qnfsm_messages_total");
        messages.map(|(_, published)| published.value).sum::<f64>()
    };
    let begun = Instant::now();
    while messages() < node.progress().1 as f64 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", of_program("running"));
        std::thread::yield_now();
    }
    node.stop().unwrap();
}

#[test]
fn a_node_without_a_directory_publishes_nothing_of_a_journal() {
    busy("unrecorded", |builder| builder).stop().unwrap();
    let names: BTreeSet<_> = of_program("unrecorded").into_keys().map(|(name, _)| name).collect();
    assert!(names.contains("qnfsm_rounds_total"));
    let of_files = |name: &&String| name.contains("journal") || name.contains("retained");
    assert_eq!(names.iter().find(of_files), None);
}

#[test]
fn a_replay_publishes_its_divergences_and_nothing_else() {
    record();
    let dir = tempfile::tempdir().unwrap();
    busy("replayed", |builder| builder.dir(dir.path())).stop().unwrap();
    let before = of_program("replayed");
    replay(dir.path(), kinds::<1>(), &Options::new()).unwrap();
    assert_eq!(of_program("replayed"), before, "it was equal");
    for times in [1.0, 2.0] {
        let error = replay(dir.path(), kinds::<2>(), &Options::new()).unwrap_err();
        assert!(matches!(error, ReplayError::Diverged(_)), "{error}");
        let mut after = of_program("replayed");
        after.retain(|key, published| before.get(key) != Some(published));
        let [((name, labels), published)] = &after.into_iter().collect::<Vec<_>>()[..] else { panic!("it is one") };
        assert_eq!((name.as_str(), published.value), ("qnfsm_divergences_total", times));
        assert_eq!(labels["found_by"], "replay");
    }
}

#[test]
fn a_recovery_that_diverges_is_counted_and_others_are_not() {
    let disk = SimulatedDisk::default();
    let node = busy("recovered", |builder| builder.dir(DIR).storage(disk.storage()));
    let killed = disk.copy();
    node.stop().unwrap();
    let divergences = || {
        let found = of_program("recovered").into_iter().filter(|((name, _), _)| name == "qnfsm_divergences_total");
        found.map(|((_, labels), published)| (labels["found_by"].clone(), published.value)).collect::<Vec<_>>()
    };
    let again = NodeBuilder::new("recovered", kinds::<1>()).dir(DIR).storage(killed.copy().storage());
    again.start(&Adder::<1>(0)).unwrap().stop().unwrap();
    assert_eq!(divergences(), []);
    let error = diverging_start("recovered", &killed);
    assert!(matches!(error, StartError::Playback { source: PlaybackError::Diverged(_), .. }), "{error}");
    assert_eq!(divergences(), [("recovery".to_owned(), 1.0)]);
}

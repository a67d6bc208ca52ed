//! What a path leads to is what Rust would find there; what differs is what was changed; hostile bytes and schemas end in an error;
//! secrets are looked into by nobody.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Content, Fields, Path, PathPart, Printer, Schema};
use crate::{Codec, NodeId, Place, QueueId, RawQueueId, Secret, WorkerId};

fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(value, &mut bytes).unwrap();
    bytes
}

fn printer<T: Serialize + DeserializeOwned + 'static>() -> Printer {
    Printer::new(Schema::of::<T>(&[]).unwrap().json())
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Meters(i64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Player {
    name: String,
    at: Option<(i8, Meters)>,
    token: Secret<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Deed {
    Rest,
    Join(Player),
    Move { by: Meters, to: Vec<(u8, u16)> },
    Pair(u128, i128),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct World {
    deed: Deed,
    players: Vec<Player>,
    scores: BTreeMap<String, u64>,
    doors: BTreeMap<u16, bool>,
    seats: BTreeMap<Meters, u8>,
    below: BTreeMap<i32, f32>,
    speed: f64,
    root: Option<QueueId<u8>>,
    letter: char,
    unit: (),
}

fn player(name: &str) -> Player {
    Player { name: name.into(), at: Some((-3, Meters(i64::MIN))), token: Secret::new(31337) }
}

fn world() -> World {
    let queue = RawQueueId::new(NodeId(0), Place::worker(WorkerId(2)), 7, 1);
    World {
        deed: Deed::Move { by: Meters(9), to: vec![(1, 2), (3, 4)] },
        players: vec![player("ada"), Player { at: None, ..player("bob") }],
        scores: [("a \"b\\".into(), 1), ("ada".into(), u64::MAX)].into(),
        doors: [(3, true), (9, false)].into(),
        seats: [(Meters(4), 40), (Meters(-2), 20)].into(),
        below: [(-5, 0.5)].into(),
        speed: f64::NAN,
        root: Some(QueueId::from_raw(queue)),
        letter: 'ß',
        unit: (),
    }
}

fn at(path: &str) -> Option<Content> {
    printer::<World>().part(&bytes_of(&world()), &path.parse().unwrap()).unwrap()
}

#[test]
fn a_path_leads_to_what_is_there_through_options_newtypes_and_variants() {
    let queue = RawQueueId::new(NodeId(0), Place::worker(WorkerId(2)), 7, 1);
    for (path, expected) in [
        ("players[1].name", Content::Text("bob".into())),
        ("players.0.name", Content::Text("ada".into())),
        ("players[0].at.0", Content::Signed(-3)),
        ("players[0].at.1.0", Content::Signed(i64::MIN.into())),
        ("players[0].token", Content::Secret),
        ("players[1].at", Content::Option(None)),
        ("deed.by.0", Content::Signed(9)),
        ("deed.to[1][0]", Content::Unsigned(3)),
        ("deed.to[1]", Content::Tuple(vec![Content::Unsigned(3), Content::Unsigned(4)])),
        ("scores[\"ada\"]", Content::Unsigned(u64::MAX.into())),
        ("scores[\"a \\\"b\\\\\"]", Content::Unsigned(1)),
        ("doors[9]", Content::Bool(false)),
        ("seats[4]", Content::Unsigned(40)),
        ("seats[\"Meters(4)\"]", Content::Unsigned(40)),
        ("seats[\"-2\"]", Content::Unsigned(20)),
        ("below[\"-5\"]", Content::F32(0.5)),
        ("root", Content::Option(Some(Box::new(Content::Queue(queue))))),
        ("letter", Content::Char('ß')),
        ("unit", Content::Unit),
    ] {
        assert_eq!(at(path), Some(expected), "{path}");
    }
    for path in [
        "players[2]",
        "players[1].at.0",
        "deed.amount",
        "scores[\"eve\"]",
        "doors[4]",
        "seats[40]",
        "speed.x",
        "players.x",
        "x",
    ] {
        assert_eq!(at(path), None, "{path}");
    }
    let join = bytes_of(&Deed::Join(player("eve")));
    for path in ["name", "0.name", "0.0.name"] {
        let found = printer::<Deed>().part(&join, &path.parse().unwrap()).unwrap();
        assert_eq!(found, (path != "0.0.name").then(|| Content::Text("eve".into())), "{path}");
    }
}

#[test]
fn of_a_variant_the_name_is_enough_and_of_a_value_the_front() {
    let printer = printer::<(Option<Deed>, u8)>();
    let bytes = bytes_of(&(Some(Deed::Join(player("ada"))), 1_u8));
    // The rest of the bytes is missing, and not asked for.
    let front = &bytes[..2];
    assert_eq!(printer.variant(front, &"[0]".parse().unwrap()).unwrap().as_deref(), Some("Join"));
    assert!(printer.part(front, &"0.name".parse().unwrap()).is_err());
    assert_eq!(printer.variant(&bytes, &"[1]".parse().unwrap()).unwrap(), None);
}

#[test]
fn a_tree_reads_as_debug_shows_the_value() {
    let (world, printer) = (world(), printer::<World>());
    let content = printer.content(&bytes_of(&world)).unwrap();
    assert_eq!(content.text(10_000), format!("{world:?}"));
    assert!(content.holds_secret() && content.text(20).ends_with('…'));
    assert!(!content.text(10_000).contains("31337"));
}

#[test]
fn what_differs_is_named_by_the_smallest_part() {
    let printer = printer::<World>();
    let before = world();
    let mut after = before.clone();
    after.players[0].at = Some((-3, Meters(0)));
    after.players.pop();
    after.scores.insert("eve".into(), 5);
    after.scores.remove("ada");
    after.doors.insert(3, false);
    after.deed = Deed::Rest;
    let changes = printer.changes(&bytes_of(&before), &bytes_of(&after), 100).unwrap();
    let text = |content: &Option<Content>| content.as_ref().map_or("-".to_owned(), |content| content.text(15));
    let texts = changes.parts.iter().map(|it| format!("{} {} {}", it.path, text(&it.before), text(&it.after)));
    assert_eq!(
        texts.collect::<Vec<_>>(),
        [
            "deed Move { by: Mete… Rest",
            "players[0].at.1 -9223372036854775808 0".replace("-9223372036854775808", "-92233720368547…").as_str(),
            "players[1] Player { name: … -",
            "scores[\"ada\"] 184467440737095… -",
            "scores[\"eve\"] - 5",
            "doors[3] true false",
        ]
    );
    assert_eq!(printer.changes(&bytes_of(&before), &bytes_of(&before), 100).unwrap(), super::Changes::default());
    let few = printer.changes(&bytes_of(&before), &bytes_of(&after), 2).unwrap();
    assert_eq!((few.parts.len(), few.more), (2, 4));
}

#[test]
fn that_secrets_differ_is_all_that_is_shown_of_them() {
    let (printer, mut other) = (printer::<Player>(), player("ada"));
    other.token = Secret::new(31338);
    let changes = printer.changes(&bytes_of(&player("ada")), &bytes_of(&other), 10).unwrap();
    assert!(changes.parts.is_empty() && changes.in_secrets_alone);
}

#[test]
fn a_schema_says_what_there_can_be_at_a_path() {
    let printer = printer::<World>();
    let outlook = |path: &str| printer.outlook(&path.parse().unwrap());
    let fields = |path| outlook(path).fields.into_iter().collect::<Vec<_>>();
    assert_eq!(outlook("deed").variants.into_iter().collect::<Vec<_>>(), ["Join", "Move", "Pair", "Rest"]);
    assert_eq!(fields("deed"), ["0", "1", "at", "by", "name", "to", "token"]);
    assert_eq!(fields("players[5].at"), ["0", "1"]);
    assert!(outlook("players").has_places && outlook("scores[\"x\"]").is_plain && outlook("doors[1]").is_plain);
    assert!(outlook("players[0].token").is_secret && outlook("deed.token").is_secret);
    for nothing in ["players[0].token.x", "speed.x", "player", "scores.ada", "deed.by.x", "players[0].at.2"] {
        assert!(outlook(nothing).is_nothing(), "{nothing}");
    }
    assert!(Printer::new("{}").outlook(&Path::default()).is_opaque);
}

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>),
    Boxed(Option<Box<Tree>>),
}

#[test]
fn a_type_within_itself_has_an_outlook() {
    let outlook = printer::<Tree>().outlook(&"0.0.0.0".parse().unwrap());
    assert!(outlook.variants.contains("Leaf"));
    let node = bytes_of(&Tree::Node(Box::new(Tree::Boxed(Some(Box::new(Tree::Leaf))))));
    let path = "0.0".parse().unwrap();
    assert_eq!(printer::<Tree>().variant(&node, &path).unwrap().as_deref(), Some("Leaf"));
}

#[test]
fn what_is_no_path_is_refused_with_its_place() {
    for (text, at) in
        [("a..b", 2), ("a[", 1), ("a[x]", 1), ("a[\"x\"", 1), ("a[\"x", 1), ("a b", 1), ("a[18446744073709551616]", 1)]
    {
        assert_eq!(text.parse::<Path>().map_err(|error| error.at), Err(at), "{text}");
    }
    assert!("[0]".repeat(1000).parse::<Path>().is_err());
}

proptest! {
    #[test]
    fn paths_read_back_as_they_are_shown(parts in prop::collection::vec(prop_oneof![
        "[a-z_0-9]{1,5}".prop_map(PathPart::Field),
        any::<u64>().prop_map(PathPart::Index),
        any::<String>().prop_map(PathPart::Key),
    ], 0..6)) {
        let path = Path(parts);
        prop_assert_eq!(path.to_string().parse::<Path>(), Ok(path));
    }

    #[test]
    fn no_text_makes_a_path_panic(text in any::<String>()) {
        let _ = text.parse::<Path>();
    }

    #[test]
    fn no_bytes_make_a_look_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), path in "[a-d.0-2\\[\\]]{0,6}") {
        let printer = printer::<Deed>();
        let Ok(path) = path.parse::<Path>() else { return Ok(()) };
        let part = printer.part(&bytes, &path);
        if let Ok(content) = printer.content(&bytes) {
            prop_assert!(part.is_ok());
            if path == Path::default() {
                prop_assert_eq!(part.unwrap(), Some(content));
            }
        }
        let _ = (printer.variant(&bytes, &path), printer.changes(&bytes, &[0], 3));
    }

    #[test]
    fn a_list_differs_where_its_elements_do(before in prop::collection::vec(0_u8..3, 0..8), after in prop::collection::vec(0_u8..3, 0..8)) {
        let changes = printer::<Vec<u8>>().changes(&bytes_of(&before), &bytes_of(&after), 100).unwrap();
        let expected = (0..before.len().max(after.len())).filter(|at| before.get(*at) != after.get(*at));
        let expected: Vec<_> = expected.map(|at| Path(vec![PathPart::Index(at as u64)])).collect();
        prop_assert_eq!(changes.parts.into_iter().map(|change| change.path).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_pair_in_a_variant_keeps_its_wide_numbers() {
    let bytes = bytes_of(&Deed::Pair(u128::MAX, i128::MIN));
    let content = printer::<Deed>().content(&bytes).unwrap();
    let parts = vec![Content::Unsigned(u128::MAX), Content::Signed(i128::MIN)];
    assert_eq!(content, Content::Variant("Pair".into(), Fields::Listed(parts)));
}

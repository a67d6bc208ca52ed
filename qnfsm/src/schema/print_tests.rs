//! Printed bytes read as `Debug` shows the value that they are, and their JSON as `serde_json` writes it; hostile bytes and
//! schemas end in a short text; secrets are never shown.

use std::{collections::BTreeMap, fmt, time::Duration};

use proptest::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Printer, Schema};
use crate::{Codec, NodeId, Place, QueueId, RawQueueId, Secret, Time, WorkerId};

fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(value, &mut bytes).unwrap();
    bytes
}

fn printer<T: Serialize + DeserializeOwned + 'static>() -> Printer {
    Printer::new(Schema::of::<T>(&[]).unwrap().json())
}

/// `Debug` is the measure, and `serde_json` of the JSON: they are derived from the same names by other hands.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + fmt::Debug + 'static>(values: impl IntoIterator<Item = T>) {
    let printer = printer::<T>();
    for value in values {
        assert_eq!(printer.text(&bytes_of(&value), 1000), format!("{value:?}"));
        assert_eq!(json(&printer, &bytes_of(&value)), large_as_texts(serde_json::to_value(&value).unwrap()));
    }
}

fn json(printer: &Printer, bytes: &[u8]) -> serde_json::Value {
    let text = printer.json(bytes, 1000);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// As the printer shows numbers that not every reader of JSON has.
fn large_as_texts(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) if number.as_i64().is_none_or(|it| it.unsigned_abs() > 1 << 53) && !number.is_f64() => {
            Value::String(number.to_string())
        }
        Value::Array(parts) => parts.into_iter().map(large_as_texts).collect(),
        Value::Object(parts) => parts.into_iter().map(|(name, part)| (name, large_as_texts(part))).collect(),
        other => other,
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Serialize, Deserialize)]
struct Newtype(u16);

#[derive(Debug, Serialize, Deserialize)]
struct Pair(i32, Newtype);

#[derive(Debug, Serialize, Deserialize)]
struct Fields {
    unit: Unit,
    pair: Option<Pair>,
    #[serde(rename = "called")]
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Bare {}

#[derive(Debug, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(Fields),
    Tuple(u8, Option<Box<Shape>>),
    Struct { shapes: Vec<Shape>, at: Time },
    Bare {},
}

#[derive(Debug, Serialize, Deserialize)]
struct Generic<T>(Vec<T>);

fn fields(pair: Option<Pair>) -> Fields {
    Fields { unit: Unit, pair, name: "it's \"so\"\n\u{1b}[2J".to_owned() }
}

#[test]
fn values_without_parts() {
    check([true, false]);
    check([i8::MIN, 0, i8::MAX]);
    check([i16::MIN, -1, i16::MAX]);
    check([i32::MIN, 300, i32::MAX]);
    check([i64::MIN, -70_000, i64::MAX]);
    check([-1_i128, 1]);
    check([0, u8::MAX]);
    check([250, 251, u16::MAX]);
    check([0, u32::MAX]);
    check([0, u64::MAX]);
    check([0_u128, 7]);
    check([0.5_f32, -0.25]);
    check([0.1_f64, f64::MAX, -0.5]);
    check(['a', '\'', '\n', 'é', '🦀']);
    check([String::new(), "plain".to_owned(), "it's \"so\"\n".to_owned()]);
    check([()]);
}

#[test]
fn numbers_that_json_lacks_are_texts_there() {
    #[track_caller]
    fn check<T: Serialize + DeserializeOwned + fmt::Debug + 'static>(value: T, json: &str) {
        let (printer, bytes) = (printer::<T>(), bytes_of(&value));
        assert_eq!((printer.text(&bytes, 100), printer.json(&bytes, 100)), (format!("{value:?}"), json.to_owned()));
    }
    check(i128::MIN, "\"-170141183460469231731687303715884105728\"");
    check(u128::MAX, "\"340282366920938463463374607431768211455\"");
    check(1_u64 << 53, "9007199254740992");
    check((1_u64 << 53) + 1, "\"9007199254740993\"");
    check(f32::NAN, "\"NaN\"");
    check(f32::INFINITY, "\"inf\"");
    check(f64::NEG_INFINITY, "\"-inf\"");
    check(0.1_f32, "0.1");
    check(-0.0_f64, "-0.0");
}

#[test]
fn values_with_parts() {
    check([None, Some(1_u8)]);
    check([Some(Some(())), Some(None), None]);
    check([vec![], vec![1_u32], vec![1, 2, 300]]);
    check([BTreeMap::new(), BTreeMap::from([("a".to_owned(), vec![1_u8]), ("b".to_owned(), vec![])])]);
    check([(1_u8, 'x', String::from("y"))]);
    check([(Newtype(1),)]);
    check([[1_u16, 2, 3]]);
    check([Ok(1), Err("no".to_owned()) as Result<u8, String>]);
    let duration = Duration::from_millis(1500);
    assert_eq!(printer::<Duration>().text(&bytes_of(&duration), 100), "Duration { secs: 1, nanos: 500000000 }");
}

#[test]
fn values_of_named_types() {
    check([Unit]);
    check([Bare {}]);
    check([Newtype(7)]);
    check([Pair(-1, Newtype(2))]);
    check([Generic(vec![Newtype(1), Newtype(2)])]);
    check([
        Shape::Unit,
        Shape::Bare {},
        Shape::Tuple(1, Some(Box::new(Shape::Tuple(2, None)))),
        Shape::Struct {
            shapes: vec![Shape::Unit, Shape::Struct { shapes: vec![], at: Time::ZERO }],
            at: Time::from_nanos(u64::MAX),
        },
    ]);
}

#[test]
fn fields_are_named_as_serde_names_them() {
    let text = printer::<Shape>().text(&bytes_of(&Shape::Newtype(fields(Some(Pair(1, Newtype(2)))))), 1000);
    let name = r#""it's \"so\"\n\u{1b}[2J""#;
    assert_eq!(text, format!("Newtype(Fields {{ unit: Unit, pair: Some(Pair(1, Newtype(2))), called: {name} }})"));
}

/// Written as bytes, which serde's derives don't do by themselves.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[test]
fn bytes_are_shown_in_hex() {
    let printer = printer::<Bytes>();
    assert_eq!(printer.text(&bytes_of(&Bytes(vec![0, 255, 16])), 1000), "0x00ff10");
    assert_eq!(printer.text(&bytes_of(&Bytes(vec![1; 1000])), 10), "0x01010101… (1003 bytes in all)");
}

#[test]
fn maps_are_objects_only_where_their_keys_are_texts() {
    let printer = printer::<BTreeMap<u8, Vec<bool>>>();
    let map = BTreeMap::from([(1_u8, vec![true]), (2, vec![])]);
    assert_eq!(printer.json(&bytes_of(&map), 100), "[[1,[true]],[2,[]]]");
}

#[test]
fn names_of_queues_read_as_they_do_everywhere() {
    let queue = RawQueueId::new(NodeId(0), Place::worker(WorkerId(1)), 7, 2);
    let bytes = bytes_of(&QueueOf { queue: QueueId::<u8>::from_raw(queue) });
    assert_eq!(printer::<QueueOf>().text(&bytes, 100), "QueueOf { queue: w1/7.2 }");
    assert_eq!(printer::<QueueOf>().json(&bytes, 100), r#"{"queue":"w1/7.2"}"#);

    #[derive(Debug, Serialize, Deserialize)]
    struct QueueId2([u32; 5]);
    let schema = Schema::of::<QueueId2>(&[]).unwrap().json().replace("QueueId2", "QueueId");
    assert_eq!(Printer::new(&schema).text(&[1, 2, 3, 4, 5], 100), "QueueId([1, 2, 3, 4, 5])");
}

#[derive(Serialize, Deserialize)]
struct QueueOf {
    queue: QueueId<u8>,
}

#[derive(Serialize, Deserialize)]
struct Login {
    name: Secret<String>,
    code: Secret<u64>,
    tries: Option<Secret<Vec<Secret<u8>>>>,
    after: u8,
}

fn login() -> Login {
    let tries = Some(Secret::new(vec![Secret::new(7), Secret::new(8)]));
    Login { name: "ada".to_owned().into(), code: 0xabcd_ef12.into(), tries, after: 9 }
}

#[test]
fn secrets_of_several_types_stand_in_one_value_and_none_is_shown() {
    let (printer, bytes) = (printer::<Login>(), bytes_of(&login()));
    assert!(printer.holds_secret());
    let shown = "Login { name: Secret(…), code: Secret(…), tries: Some(Secret(…)), after: 9 }";
    assert_eq!(printer.text(&bytes, 100), shown);
    let shown = r#"{"name":"(secret)","code":"(secret)","tries":"(secret)","after":9}"#;
    assert_eq!(printer.json(&bytes, 100), shown);
}

#[test]
fn bytes_that_make_no_value_of_a_type_with_a_secret_are_not_shown_in_hex() {
    let (printer, bytes) = (printer::<Login>(), bytes_of(&login()));
    for end in 0..bytes.len() {
        for shown in [printer.text(&bytes[..end], 100), printer.json(&bytes[..end], 100)] {
            for secret in ["ada", "616461", "fc12efcd"] {
                assert!(!shown.contains(secret), "{shown}");
            }
            assert!(shown.contains("note") || shown.contains("with a secret"), "{shown}");
        }
    }
    let mut cut = bytes.clone();
    cut[1] = 0xff;
    let shown = "Login { name: … (the bytes are no value of this type: the bytes of a secret are none; 14 bytes, with a secret)";
    assert_eq!(printer.text(&cut, 100), shown);
}

/// Refuses most values, so that nothing but its name is known.
#[derive(Serialize)]
struct Picky {
    key: Secret<String>,
    even: Even,
}

#[derive(Serialize)]
struct Even(u8);

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Picky, D::Error> {
        let (key, even) = Deserialize::deserialize(deserializer)?;
        Ok(Picky { key, even })
    }
}

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Even, D::Error> {
        match u8::deserialize(deserializer)? {
            42 => Ok(Even(42)),
            _ => Err(serde::de::Error::custom("it is not 42")),
        }
    }
}

#[test]
fn an_opaque_type_in_which_a_secret_was_seen_is_not_shown_in_hex() {
    let schema = Schema::of::<Picky>(&[]).unwrap();
    assert!(schema.opaque().is_some());
    let bytes = bytes_of(&Picky { key: "ada".to_owned().into(), even: Even(42) });
    let printer = Printer::new(schema.json());
    assert_eq!(printer.text(&bytes, 100), "(opaque; 5 bytes, with a secret)");
    assert_eq!(printer.json(&bytes, 100), r#"{"$note":"opaque"}"#);
}

#[test]
fn a_type_of_the_users_that_is_called_secret_is_shown() {
    mod theirs {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        pub(super) struct Secret(pub(super) u8);
    }
    check([theirs::Secret(7)]);
    check([Generic(vec![theirs::Secret(7)])]);
}

#[test]
fn an_opaque_type_is_shown_in_hex_and_says_so() {
    let opaque = Printer::new(r#"{"opaque":"Odd"}"#);
    assert_eq!(opaque.text(&[1, 2, 255], 100), "(opaque; 3 bytes: 0102ff)");
    assert_eq!(opaque.text(&[], 100), "(opaque; 0 bytes)");
    assert_eq!(opaque.json(&[1, 2, 255], 100), r#"{"$note":"opaque","$hex":"0102ff"}"#);
    let long = opaque.text(&[7; 1 << 20], 100);
    assert_eq!(long, format!("(opaque; 1048576 bytes: {}…)", "07".repeat(24)));
    assert_eq!(Printer::new("{nonsense").text(&[1], 100), "(no schema can be read; 1 byte: 01)");
    assert_eq!(Printer::new("").text(&[1], 100), "(no schema can be read; 1 byte: 01)");
}

#[test]
fn bytes_that_make_no_value_are_shown_as_far_as_they_do() {
    let (printer, bytes) = (printer::<Pair>(), bytes_of(&Pair(1, Newtype(2))));
    assert_eq!(printer.text(&bytes, 100), "Pair(1, Newtype(2))");
    let cut = "Pair(1, Newtype(… (the bytes end in the middle of the value; 1 byte: 02)";
    assert_eq!(printer.text(&bytes[..1], 100), cut);
    let cut = r#"{"$note":"the bytes end in the middle of the value","$value":[1],"$hex":"02"}"#;
    assert_eq!(printer.json(&bytes[..1], 100), cut);
    let more = [&bytes[..], &[9]].concat();
    let left = "Pair(1, Newtype(2))… (1 bytes are left over after the value; 3 bytes: 020209)";
    assert_eq!(printer.text(&more, 100), left);
    let variant = self::printer::<Shape>().text(&[9], 100);
    assert!(variant.contains(r#""Shape" has no variant 9 in the schema; 1 byte: 09"#), "{variant}");
}

/// Of each text, so many characters at most beside the note behind it.
#[track_caller]
fn check_bounded(json: &str, bytes: &[u8]) -> String {
    let text = Printer::new(json).text(bytes, 200);
    assert!(text.chars().count() <= 400, "{text}");
    assert!(text.contains("… ("), "{text}");
    let json = Printer::new(json).json(bytes, 200);
    assert!(json.len() <= 1000, "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["$note"].is_string(), "{json}");
    text
}

#[test]
fn schemas_that_nobody_would_write_end_in_a_short_text() {
    let schema = |root: &str, types: &str| format!(r#"{{"root":{root},"types":{{{types}}}}}"#);
    let itself = schema(r#"{"TYPENAME":"A"}"#, r#""A":{"NEWTYPESTRUCT":{"TYPENAME":"A"}}"#);
    check_bounded(&itself, &[]);
    assert!(Printer::new(&itself).text(&[], 1000).contains("nests more than 64 levels"));
    let doubled = schema(r#"{"TYPENAME":"A"}"#, r#""A":{"TUPLESTRUCT":[{"TYPENAME":"A"},{"TYPENAME":"A"}]}"#);
    check_bounded(&doubled, &[]);
    let mut wide = String::from(r#""A0":"UNITSTRUCT""#);
    for at in 1..60 {
        let below = format!(r#"{{"TYPENAME":"A{}"}}"#, at - 1);
        wide += &format!(r#","A{at}":{{"TUPLESTRUCT":[{below},{below}]}}"#);
    }
    check_bounded(&schema(r#"{"TYPENAME":"A59"}"#, &wide), &[]);
    check_bounded(&schema(r#"{"TUPLEARRAY":{"CONTENT":"UNIT","SIZE":18446744073709551615}}"#, ""), &[]);
    let nothings = schema(
        r#"{"TYPENAME":"qnfsm::Secret"}"#,
        r#""qnfsm::Secret":{"NEWTYPESTRUCT":{"TUPLEARRAY":{"CONTENT":"UNIT","SIZE":18446744073709551615}}}"#,
    );
    check_bounded(&nothings, &[]);
    let units = schema(r#"{"SEQ":"UNIT"}"#, "");
    assert!(check_bounded(&units, &[253, 255, 255, 255, 255, 255, 255, 255, 127]).contains("more elements"));
    check_bounded(&units, &[251, 0, 4]);
    assert!(check_bounded(&schema(r#"{"TYPENAME":"B"}"#, ""), &[]).contains(r#"lacks type "B""#));
    check_bounded(&schema(&format!(r#"{{"TYPENAME":"{}"}}"#, "B".repeat(1 << 16)), ""), &[]);
    let long = schema(r#"{"TYPENAME":"A"}"#, &format!(r#""A":{{"STRUCT":[{{"{}":"U8"}}]}}"#, "x".repeat(1 << 16)));
    check_bounded(&long, &[1]);
    let escape = schema(r#"{"TYPENAME":"\u001b[2J"}"#, r#""\u001b[2J":"UNITSTRUCT""#);
    assert_eq!(Printer::new(&escape).text(&[], 100), r"\u{1b}[2J");
    let deep = format!("{}\"U8\"{}", r#"{"OPTION":"#.repeat(1000), "}".repeat(1000));
    assert_eq!(Printer::new(&schema(&deep, "")).text(&[1], 100), "(no schema can be read; 1 byte: 01)");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_end_in_bounded_json(bytes in prop::collection::vec(any::<u8>(), 0..200), bytes_max in 0..300_usize) {
        let text = printer_of_shapes().json(&bytes, bytes_max);
        prop_assert!(text.len() <= 2 * bytes_max + 300, "{}", text);
        prop_assert!(!text.contains(char::is_control));
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
            TestCaseError::fail(format!("{error}: {text}"))
        })?;
        if let Ok(shape) = Codec::CURRENT.decode::<Shape>(&bytes, crate::Trust::Node) {
            let whole = large_as_texts(serde_json::to_value(&shape).unwrap());
            prop_assert!(json == whole || json["$note"].is_string(), "{} is not {}", json, whole);
        }
    }

    #[test]
    fn any_bytes_end_in_a_bounded_text(bytes in prop::collection::vec(any::<u8>(), 0..200), chars_max in 0..300_usize) {
        let text = printer_of_shapes().text(&bytes, chars_max);
        prop_assert!(text.chars().count() <= chars_max + 200, "{}", text);
        prop_assert!(!text.contains(char::is_control));
        if let Ok(shape) = Codec::CURRENT.decode::<Shape>(&bytes, crate::Trust::Node) {
            let debug = format!("{shape:?}").replace(", name: ", ", called: ");
            let cut: String = debug.chars().take(chars_max).collect();
            prop_assert!(text.starts_with(cut.trim_end_matches(['"', '\\'])), "{} is not {}", text, debug);
        }
    }
}

fn printer_of_shapes() -> Printer {
    static JSON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    Printer::new(JSON.get_or_init(|| Schema::of::<Shape>(&[]).unwrap().json().to_owned()))
}

//! Printed bytes read as `Debug` shows the value that they are; hostile bytes and schemas end in a short text.

use std::{collections::BTreeMap, fmt, time::Duration};

use proptest::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Printer, Schema};
use crate::{Codec, Time};

fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(value, &mut bytes).unwrap();
    bytes
}

fn printer<T: Serialize + DeserializeOwned + 'static>() -> Printer {
    Printer::new(Schema::of::<T>(&[]).unwrap().json())
}

/// `Debug` is the measure: it is derived from the same names by another hand.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + fmt::Debug + 'static>(values: impl IntoIterator<Item = T>) {
    let printer = printer::<T>();
    for value in values {
        assert_eq!(printer.text(&bytes_of(&value), 1000), format!("{value:?}"));
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
    check([i128::MIN, 1, i128::MAX]);
    check([0, u8::MAX]);
    check([250, 251, u16::MAX]);
    check([0, u32::MAX]);
    check([0, u64::MAX]);
    check([0, u128::MAX]);
    check([0.1_f32, f32::NAN, f32::INFINITY, -0.0]);
    check([0.1_f64, f64::MAX, f64::NEG_INFINITY]);
    check(['a', '\'', '\n', 'é', '🦀']);
    check([String::new(), "plain".to_owned(), "it's \"so\"\n".to_owned()]);
    check([()]);
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
fn an_opaque_type_is_shown_in_hex_and_says_so() {
    let opaque = Printer::new(r#"{"opaque":"Odd"}"#);
    assert_eq!(opaque.text(&[1, 2, 255], 100), "(opaque; 3 bytes: 0102ff)");
    assert_eq!(opaque.text(&[], 100), "(opaque; 0 bytes)");
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
    text
}

#[test]
fn schemas_that_nobody_would_write_end_in_a_short_text() {
    let schema = |root: &str, types: &str| format!(r#"{{"root":{root},"types":{{{types}}}}}"#);
    let itself = schema(r#"{"TYPENAME":"A"}"#, r#""A":{"NEWTYPESTRUCT":{"TYPENAME":"A"}}"#);
    assert!(check_bounded(&itself, &[]).contains("nests more than 64 levels"));
    let doubled = schema(r#"{"TYPENAME":"A"}"#, r#""A":{"TUPLESTRUCT":[{"TYPENAME":"A"},{"TYPENAME":"A"}]}"#);
    check_bounded(&doubled, &[]);
    let mut wide = String::from(r#""A0":"UNITSTRUCT""#);
    for at in 1..60 {
        let below = format!(r#"{{"TYPENAME":"A{}"}}"#, at - 1);
        wide += &format!(r#","A{at}":{{"TUPLESTRUCT":[{below},{below}]}}"#);
    }
    check_bounded(&schema(r#"{"TYPENAME":"A59"}"#, &wide), &[]);
    check_bounded(&schema(r#"{"TUPLEARRAY":{"CONTENT":"UNIT","SIZE":18446744073709551615}}"#, ""), &[]);
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

//! What can be traced is, what can't be carried is refused by name, and the rest is opaque.
#![expect(clippy::disallowed_types, reason = "what users may write is tried here")]

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::*;
use crate::{DecodeError, NodeId, Place, QueueId, RawQueueId, RequestId, Time, WorkerId};

#[track_caller]
fn traced<T: Serialize + DeserializeOwned + 'static>() -> Schema {
    let schema = Schema::of::<T>(&[]).unwrap();
    assert_eq!(schema.opaque(), None);
    schema
}

#[track_caller]
fn refused<T: Serialize + DeserializeOwned + 'static>(type_name: &str, field: Option<&str>, misfit: Misfit) -> String {
    let error = Schema::of::<T>(&[]).unwrap_err();
    assert_eq!(error, SchemaError { type_name: type_name.to_string(), field: field.map(str::to_string), misfit });
    error.to_string()
}

#[derive(Debug, Serialize, Deserialize)]
#[allow(dead_code)]
enum Inner {
    First,
    Second(u8),
    Third { x: Option<NonZeroU32> },
}

#[derive(Debug, Serialize, Deserialize)]
enum Event {
    Coin,
    Push(Vec<Inner>),
    Expired { at: Time, by: Option<Box<Inner>> },
}

#[test]
fn a_schema_is_frozen() {
    let schema = traced::<Event>();
    assert_eq!(schema.name(), "Event");
    assert_eq!(
        schema.json(),
        concat!(
            r#"{"root":{"TYPENAME":"Event"},"types":{"#,
            r#""Event":{"ENUM":{"0":{"Coin":"UNIT"},"1":{"Push":{"NEWTYPE":{"SEQ":{"TYPENAME":"Inner"}}}},"#,
            r#""2":{"Expired":{"STRUCT":[{"at":{"TYPENAME":"Time"}},{"by":{"OPTION":{"TYPENAME":"Inner"}}}]}}}},"#,
            r#""Inner":{"ENUM":{"0":{"First":"UNIT"},"1":{"Second":{"NEWTYPE":"U8"}},"#,
            r#""2":{"Third":{"STRUCT":[{"x":{"OPTION":"U32"}}]}}}},"#,
            r#""Time":{"NEWTYPESTRUCT":"U64"}}}"#
        )
    );
    let shape = concat!(
        r##"{"root":{"TYPENAME":"#0"},"types":{"##,
        r##""#0":{"ENUM":{"0":{"Coin":"UNIT"},"1":{"Push":{"NEWTYPE":{"SEQ":{"TYPENAME":"#1"}}}},"##,
        r##""2":{"Expired":{"STRUCT":[{"at":{"TYPENAME":"#2"}},{"by":{"OPTION":{"TYPENAME":"#1"}}}]}}}},"##,
        r##""#1":{"ENUM":{"0":{"First":"UNIT"},"1":{"Second":{"NEWTYPE":"U8"}},"##,
        r##""2":{"Third":{"STRUCT":[{"x":{"OPTION":"U32"}}]}}}},"##,
        r##""#2":{"NEWTYPESTRUCT":"U64"}}}"##
    );
    assert_eq!(schema.hash(), Digest::of(shape.as_bytes()));
    assert_eq!(schema.variants(), ["Coin", "Push", "Expired"]);
    assert_eq!(schema, traced::<Event>(), "the same every time");
}

/// A type of three that stand within one another, whose names don't matter, and a field and a variant, whose names do.
macro_rules! nested {
    ($of:ident: $root:ident, $inner:ident, $choice:ident, $field:ident, $variant:ident, $deepest:ty) => {
        mod $of {
            use super::*;
            #[derive(Serialize, Deserialize)]
            pub(super) enum $choice {
                Same,
                $variant(Option<Box<$choice>>),
            }
            #[derive(Serialize, Deserialize)]
            pub(super) struct $inner {
                $field: $deepest,
                choice: $choice,
            }
            #[derive(Serialize, Deserialize)]
            pub(super) struct $root(Vec<$inner>, crate::Reply<$inner>, crate::Reply<u8>);
        }
    };
}

nested!(as_it_was: Root, Inner, Choice, field, Variant, u32);
nested!(other_types: Stem, Leaf, Kind, field, Variant, u32);
nested!(other_field: Root, Inner, Choice, other, Variant, u32);
nested!(other_variant: Root, Inner, Choice, field, Other, u32);
nested!(other_bytes: Root, Inner, Choice, field, Variant, u16);
nested!(secret: Root, Inner, Choice, field, Variant, crate::Secret<u32>);

#[derive(Serialize, Deserialize)]
struct Bare<T>(T);
nested!(newtype: Root, Inner, Choice, field, Variant, Bare<u32>);

#[test]
fn what_types_are_called_is_not_in_the_hash_and_what_fields_and_variants_are_is() {
    let before = traced::<as_it_was::Root>().hash();
    assert_eq!(before, traced::<other_types::Stem>().hash());
    let others = [
        traced::<other_field::Root>().hash(),
        traced::<other_variant::Root>().hash(),
        traced::<other_bytes::Root>().hash(),
        traced::<secret::Root>().hash(),
        traced::<newtype::Root>().hash(),
    ];
    for (at, hash) in others.iter().enumerate() {
        assert!(*hash != before && !others[..at].contains(hash), "{at}");
    }
}

#[test]
fn a_change_of_a_nested_variant_changes_the_hash() {
    mod before {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) enum Kind {
            A,
            B(u8),
        }
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Message(Vec<Option<Kind>>);
    }
    mod after {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) enum Kind {
            A,
            B(u16),
        }
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Message(Vec<Option<Kind>>);
    }
    assert_ne!(traced::<before::Message>().hash(), traced::<after::Message>().hash());
    assert_eq!(traced::<before::Kind>().variants(), traced::<after::Kind>().variants());
    assert!(traced::<after::Message>().variants().is_empty(), "no enum, no variants");
}

#[test]
fn all_usual_fields_are_traced() {
    #[derive(Serialize, Deserialize)]
    struct All {
        by_hash: HashMap<String, Inner>,
        by_tree: BTreeMap<(u8, i8), Vec<u64>>,
        wide: (u128, i128),
        letter: char,
        array: [f32; 3],
        unit: (),
        request: RequestId,
        queue: QueueId<Event>,
        other: Option<QueueId<Inner>>,
        result: Result<u8, String>,
        wait: std::time::Duration,
    }
    let schema = traced::<All>();
    assert!(schema.json().contains(r#""QueueId":{"NEWTYPESTRUCT":{"TUPLEARRAY":{"CONTENT":"U32","SIZE":4}}}"#));
    assert!(schema.json().contains("Third"), "enums in maps are explored");
    traced::<QueueId<Event>>();
    traced::<()>();
    traced::<u8>();
    traced::<Option<Result<Inner, Event>>>();
}

#[test]
fn recursive_types_are_traced_wherever_their_ends_are() {
    #[derive(Serialize, Deserialize)]
    enum Term {
        Add(Box<Term>, Box<Term>),
        Not(Box<Fact>),
        Number(i64),
    }
    #[derive(Serialize, Deserialize)]
    enum Fact {
        Less(Box<(Term, Term)>),
        Both(Box<Fact>, Box<Fact>),
        True,
    }
    #[derive(Serialize, Deserialize)]
    struct List {
        item: Inner,
        next: Option<Box<List>>,
        children: Vec<List>,
    }
    #[derive(Serialize, Deserialize)]
    enum Chain {
        Link(Option<Box<Chain>>),
    }
    #[derive(Serialize, Deserialize)]
    enum Json {
        List(Vec<Json>),
        Map(BTreeMap<String, Json>),
        Text(String),
        Null,
    }
    assert_eq!(traced::<Json>().variants(), ["List", "Map", "Text", "Null"]);
    assert_eq!(traced::<Term>().variants(), ["Add", "Not", "Number"]);
    assert_eq!(traced::<Fact>().variants(), ["Less", "Both", "True"]);
    assert_eq!(traced::<Chain>().variants(), ["Link"]);
    assert!(traced::<List>().json().contains("Third"));
    for json in [traced::<Term>().json(), traced::<Fact>().json()] {
        assert!(["Less", "Both", "True", "Add", "Not", "Number"].iter().all(|name| json.contains(name)), "{json}");
    }
}

#[test]
fn renames_and_aliases_are_carried() {
    #[derive(Serialize, Deserialize)]
    enum Renamed {
        #[serde(rename = "eins", alias = "one", alias = "uno")]
        One,
        Two {
            #[serde(alias = "a", alias = "b")]
            x: u8,
            y: Inner,
        },
    }
    assert_eq!(traced::<Renamed>().variants(), ["eins", "Two"]);
}

#[test]
fn skipping_both_ways_is_carried() {
    #[derive(Serialize, Deserialize)]
    #[allow(dead_code)]
    struct Cached {
        a: u8,
        #[serde(skip)]
        cache: Vec<u8>,
        b: u8,
    }
    traced::<Cached>();
}

#[test]
fn flatten_is_refused() {
    #[derive(Serialize, Deserialize)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        rest: Rest,
    }
    #[derive(Serialize, Deserialize)]
    struct Rest {
        x: Option<u8>,
    }
    #[derive(Serialize, Deserialize)]
    struct Outer {
        ok: u8,
        flat: Vec<Flat>,
    }
    let text = refused::<Outer>("Outer", Some("flat"), Misfit::Flattened);
    assert_eq!(text, "type `Outer`, field `flat`: uses `#[serde(flatten)]`; bincode cannot carry it, remove it");
    refused::<Flat>("Flat", None, Misfit::Flattened);
}

#[test]
fn untagged_and_internally_tagged_enums_are_refused() {
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        A(u8),
        B(String),
    }
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        A { x: u8 },
        B,
    }
    #[derive(Serialize, Deserialize)]
    enum Outer {
        Fine,
        Untagged { it: Option<Untagged> },
        Tagged { it: Tagged },
    }
    refused::<Untagged>("Untagged", None, Misfit::Untagged);
    refused::<Tagged>("Tagged", None, Misfit::Tagged);
    refused::<Outer>("Outer", Some("it"), Misfit::Untagged);
}

#[test]
fn fields_that_are_left_out_are_refused() {
    #[derive(Serialize, Deserialize)]
    struct SkipsIf {
        a: u8,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }
    #[derive(Serialize, Deserialize)]
    struct SkipsZero {
        #[serde(default, skip_serializing_if = "is_zero")]
        count: u32,
    }
    fn is_zero(count: &u32) -> bool {
        *count == 0
    }
    #[derive(Serialize, Deserialize)]
    #[allow(dead_code)]
    struct NotWritten {
        a: u8,
        #[serde(skip_serializing)]
        b: u32,
    }
    #[derive(Serialize, Deserialize)]
    struct NotRead {
        a: u8,
        #[serde(skip_deserializing)]
        b: u32,
    }
    #[derive(Serialize, Deserialize)]
    enum Outer {
        A,
        B(Vec<SkipsIf>),
        C(Option<BTreeMap<u8, SkipsZero>>),
    }
    refused::<SkipsIf>("SkipsIf", Some("name"), Misfit::FieldSkipped);
    refused::<SkipsZero>("SkipsZero", Some("count"), Misfit::FieldSkipped);
    refused::<Vec<SkipsIf>>("SkipsIf", Some("name"), Misfit::FieldSkipped);
    refused::<Option<BTreeMap<u8, SkipsZero>>>("SkipsZero", Some("count"), Misfit::FieldSkipped);
    assert_eq!(Schema::of::<Outer>(&[]).unwrap_err().misfit, Misfit::FieldSkipped);
    refused::<NotWritten>("NotWritten", Some("b"), Misfit::FieldNotWritten);
    refused::<NotRead>("NotRead", Some("b"), Misfit::FieldNotRead);
}

#[test]
fn variants_that_are_skipped_are_refused() {
    #[derive(Serialize, Deserialize)]
    enum Skips {
        A,
        #[serde(skip_deserializing)]
        #[allow(dead_code)]
        B,
        C,
        D,
    }
    refused::<Skips>("Skips", None, Misfit::VariantSkipped);
}

#[test]
fn a_value_that_comes_back_as_another_is_refused() {
    #[derive(Debug, Serialize)]
    struct Grows(u32);
    impl<'de> Deserialize<'de> for Grows {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Grows, D::Error> {
            u32::deserialize(deserializer).map(|number| Grows(number + 1))
        }
    }
    refused::<Grows>("Grows", None, Misfit::Changed);
}

#[test]
fn serialize_and_deserialize_that_disagree_are_refused() {
    #[derive(Debug)]
    struct Odd(u32);
    impl Serialize for Odd {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&self.0.to_string())
        }
    }
    impl<'de> Deserialize<'de> for Odd {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Odd, D::Error> {
            u32::deserialize(deserializer).map(Odd)
        }
    }
    refused::<Odd>("Odd", None, Misfit::Decode(DecodeError::Trailing { left: 1 }));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Even(u32);

impl TryFrom<u32> for Even {
    type Error = String;
    fn try_from(number: u32) -> Result<Even, String> {
        if number.is_multiple_of(2) && number > 9 {
            Ok(Even(number))
        } else {
            Err(format!("{number} is not even or below 10"))
        }
    }
}

impl From<Even> for u32 {
    fn from(even: Even) -> u32 {
        even.0
    }
}

#[test]
fn numbers_that_are_not_zero_are_traced_with_and_without_samples() {
    let without = traced::<NonZeroU32>();
    let with = Schema::of(&[NonZeroU32::MAX]).unwrap();
    assert_eq!(without, with);
    assert_eq!(with.json(), r#"{"root":"U32","types":{}}"#);
}

#[test]
fn a_type_that_refuses_values_is_opaque_without_samples() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    enum Message {
        Plain(u8),
        Fussy(Even),
    }
    let schema = Schema::of::<Message>(&[]).unwrap();
    let reason = schema.opaque().unwrap();
    assert!(reason.contains("1 is not even") && reason.contains("give samples"), "{reason}");
    let json = schema.json();
    assert!(json.starts_with(r#"{"opaque":"Message","variants":["Plain"],"seen":""#), "{json}");
    assert_eq!(schema.variants(), ["Plain"]);

    let samples = [Message::Plain(0), Message::Fussy(Even(10))];
    let schema = Schema::of(&samples).unwrap();
    assert_eq!(schema.opaque(), None);
    assert_eq!(schema.variants(), ["Plain", "Fussy"]);
    assert_eq!(schema.hash(), Schema::of(&samples[..]).unwrap().hash());
}

#[test]
fn samples_of_newtypes_are_used_wherever_the_newtype_stands() {
    #[derive(Debug, Clone, Serialize)]
    struct Port(u16);
    impl<'de> Deserialize<'de> for Port {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Port, D::Error> {
            #[derive(Deserialize)]
            #[serde(rename = "Port")]
            struct Raw(u16);
            let Raw(port) = Raw::deserialize(deserializer)?;
            if port < 1024 { Err(serde::de::Error::custom("a low port")) } else { Ok(Port(port)) }
        }
    }
    #[derive(Debug, Clone, Serialize, Deserialize)]
    enum Message {
        Listen(Port),
        Others { ports: Vec<Port>, after: Inner2 },
    }
    #[derive(Debug, Clone, Serialize, Deserialize)]
    enum Inner2 {
        A,
        B,
    }
    assert!(Schema::of::<Message>(&[]).unwrap().opaque().is_some());
    let schema = Schema::of(&[Message::Listen(Port(8080))]).unwrap();
    assert_eq!(schema.opaque(), None);
    assert_eq!(schema.variants(), ["Listen", "Others"]);
    assert!(schema.json().contains(r#""1":{"B":"UNIT"}"#), "{}", schema.json());
}

#[test]
fn a_type_that_panics_is_opaque() {
    #[derive(Debug, Serialize)]
    struct Panics;
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Panics, D::Error> {
            panic!("on purpose")
        }
    }
    let schema = Schema::of::<Panics>(&[]).unwrap();
    assert!(schema.opaque().unwrap().contains("on purpose"));
}

#[test]
fn a_type_without_values_is_opaque() {
    #[derive(Serialize, Deserialize)]
    struct Endless(Box<Endless>);
    #[derive(Serialize, Deserialize)]
    enum Never {}
    assert!(Schema::of::<Endless>(&[]).unwrap().opaque().is_some());
    assert!(Schema::of::<Never>(&[]).unwrap().opaque().is_some());
}

#[test]
fn samples_with_hash_maps_may_come_back_in_another_order() {
    let map: HashMap<u32, String> = (0..50).map(|number| (number, format!("{number:03}"))).collect();
    assert_eq!(Schema::of(&[map]).unwrap().opaque(), None);
}

#[test]
fn names_are_shown_without_modules() {
    assert_eq!(traced::<Vec<BTreeMap<String, Event>>>().name(), "Vec<BTreeMap<String, Event>>");
    assert_eq!(short_name("(a::b::C, [d::E; 3], &e::f_g)"), "(C, [E; 3], &f_g)");
}

#[test]
fn a_queue_id_s_schema_says_nothing_of_what_the_queue_takes() {
    let raw = RawQueueId::new(NodeId(1), Place::worker(WorkerId(1)), 1, 1);
    let schema = Schema::of(&[QueueId::<Event>::from_raw(raw)]).unwrap();
    assert_eq!(schema.hash(), traced::<QueueId<Inner>>().hash());
}

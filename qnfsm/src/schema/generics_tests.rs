//! A generic type may stand in one message at several arguments; what can't be told apart even so is opaque, and its hash
//! tells a change all the same.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use super::{Printer, Schema};
use crate::{Codec, NoReply, QueueId, Reply, RequestId, WorkerId};

#[track_caller]
fn traced<T: Serialize + DeserializeOwned + 'static>() -> Schema {
    let schema = Schema::of::<T>(&[]).unwrap();
    assert_eq!(schema.opaque(), None);
    schema
}

#[track_caller]
fn opaque<T: Serialize + DeserializeOwned + 'static>() -> Schema {
    let schema = Schema::of::<T>(&[]).unwrap();
    assert!(schema.opaque().is_some(), "{}", schema.json());
    schema
}

/// Traces the type, and compares what is printed of its values with their `Debug`.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + fmt::Debug + 'static>(values: impl IntoIterator<Item = T>) -> String {
    let json = traced::<T>().json().to_owned();
    let printer = Printer::new(&json);
    for value in values {
        let mut bytes = Vec::new();
        Codec::CURRENT.encode(&value, &mut bytes).unwrap();
        assert_eq!(printer.text(&bytes, 1000), format!("{value:?}"));
    }
    json
}

fn reply<A>(outcome: A) -> Reply<A> {
    Reply { request: RequestId(3), outcome: Ok(outcome) }
}

fn no_reply<A>() -> Reply<A> {
    Reply { request: RequestId(4), outcome: Err(NoReply::Gone) }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair<A, B> {
    first: A,
    second: B,
}

#[test]
fn replies_of_two_types_in_one_message_are_told_apart() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Root {
        Worker(Reply<WorkerId>),
        Text(Reply<String>),
    }
    let json = check([
        Root::Worker(reply(WorkerId(7))),
        Root::Text(reply("seven".to_owned())),
        Root::Worker(no_reply()),
        Root::Text(no_reply()),
    ]);
    let types: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names: Vec<_> = types["types"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "NoReply",
            "Reply<String>",
            "Reply<WorkerId>",
            "RequestId",
            "Result<String, NoReply>",
            "Result<WorkerId, NoReply>",
            "Root",
            "WorkerId"
        ]
    );
    assert_eq!(traced::<Root>().variants(), ["Worker", "Text"]);
}

#[test]
fn instances_are_told_apart_wherever_they_stand() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Root {
        Nested(Option<Reply<u64>>),
        Many(Vec<Reply<String>>, BTreeMap<u8, Reply<Option<bool>>>),
        Boxed(Box<Reply<Vec<u8>>>, Cow<'static, Pair<i8, i16>>),
        Tuple { both: (Reply<char>, [Reply<(u8, i8)>; 2]) },
        Within(Pair<Reply<i32>, Pair<u8, Box<Reply<()>>>>),
    }
    check([
        Root::Nested(Some(reply(1))),
        Root::Many(vec![reply("a".to_owned()), no_reply()], BTreeMap::from([(1, reply(Some(true)))])),
        Root::Boxed(Box::new(reply(vec![1])), Cow::Owned(Pair { first: 1, second: -2 })),
        Root::Tuple { both: (reply('x'), [reply((1, 2)), no_reply()]) },
        Root::Within(Pair { first: reply(-1), second: Pair { first: 1, second: Box::new(reply(())) } }),
    ]);
}

#[test]
fn generic_types_of_every_form_are_told_apart() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Newtype<T>(T);
    #[derive(Debug, Serialize, Deserialize)]
    struct Tuple<T>(u8, T);
    #[derive(Debug, Serialize, Deserialize)]
    enum Any<T> {
        Unit,
        Newtype(T),
        Tuple(T, u8),
        Struct { field: T },
    }
    /// For serde it isn't there, and here not for `Debug` either.
    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Through<T>(T);
    impl<T: fmt::Debug> fmt::Debug for Through<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Root {
        newtypes: (Newtype<u8>, Newtype<String>),
        tuples: (Tuple<u8>, Tuple<String>),
        enums: Vec<(Any<u8>, Any<String>)>,
        through: (Through<Newtype<char>>, Through<Newtype<u64>>),
    }
    let json = check([Root {
        newtypes: (Newtype(1), Newtype("a".to_owned())),
        tuples: (Tuple(1, 2), Tuple(3, "b".to_owned())),
        enums: vec![
            (Any::Unit, Any::Newtype("c".to_owned())),
            (Any::Newtype(1), Any::Struct { field: "d".to_owned() }),
            (Any::Tuple(1, 2), Any::Unit),
        ],
        through: (Through(Newtype('e')), Through(Newtype(5))),
    }]);
    for name in ["Newtype<u64>", "Tuple<String>", "Any<u8>", "Any<String>", "Newtype<char>"] {
        assert!(json.contains(&format!("\"{name}\":")), "{name} in {json}");
    }
}

#[test]
fn recursive_generic_types_are_told_apart() {
    #[derive(Debug, Serialize, Deserialize)]
    enum List<T> {
        End,
        Item(T, Box<List<T>>),
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Root(List<u8>, List<String>);
    let bytes = List::Item(1, Box::new(List::Item(2, Box::new(List::End))));
    check([Root(bytes, List::Item("a".to_owned(), Box::new(List::End)))]);
}

#[test]
fn only_names_that_clash_have_arguments() {
    #[derive(Serialize, Deserialize)]
    struct Other;
    #[derive(Serialize, Deserialize)]
    struct Alike {
        one: Pair<u8, u8>,
        queues: (QueueId<u8>, QueueId<Other>),
    }
    #[derive(Serialize, Deserialize)]
    struct Clashing {
        pairs: (Pair<u8, u8>, Pair<u8, u16>),
        queues: (QueueId<u8>, QueueId<Other>),
    }
    assert!(!traced::<Alike>().json().contains('<'));
    let json = traced::<Clashing>().json().to_owned();
    assert!(json.contains(r#""Pair<u8, u16>":"#), "{json}");
    assert!(json.contains(r#""QueueId":"#) && !json.contains("QueueId<"), "{json}");
}

#[test]
fn a_generic_type_by_itself_has_the_hash_that_it_always_had() {
    let json = r#"{"root":{"TYPENAME":"Pair"},"types":{"Pair":{"STRUCT":[{"first":"U8"},{"second":"STR"}]}}}"#;
    assert_eq!(traced::<Pair<u8, String>>().json(), json);
}

#[test]
fn a_change_within_an_instance_changes_the_hash() {
    mod before {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Answer {
            a: u32,
            b: u32,
        }
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Root(crate::Reply<Answer>, crate::Reply<u8>);
    }
    mod after {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Answer {
            b: u32,
            a: u32,
        }
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Root(crate::Reply<Answer>, crate::Reply<u8>);
    }
    assert_ne!(traced::<before::Root>().hash(), traced::<after::Root>().hash());
}

/// Two types of one name.
mod apart {
    pub(super) mod one {
        #[derive(Default, serde::Serialize, serde::Deserialize)]
        pub(in super::super) struct Point {
            x: u32,
            y: u32,
        }
    }
    pub(super) mod other {
        #[derive(Default, serde::Serialize, serde::Deserialize)]
        pub(in super::super) struct Point {
            name: String,
        }
    }
    pub(super) mod swapped {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(in super::super) struct Point {
            y: u32,
            x: u32,
        }
    }
}

#[test]
fn types_of_one_name_from_two_modules_are_opaque_and_a_change_of_one_changes_the_hash() {
    mod before {
        use super::apart::{one, other};
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Root(Vec<Option<one::Point>>, other::Point);
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) enum Message {
            First(crate::Reply<one::Point>),
            Second(crate::Reply<other::Point>),
        }
    }
    mod after {
        use super::apart::{other, swapped};
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Root(Vec<Option<swapped::Point>>, other::Point);
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) enum Message {
            First(crate::Reply<swapped::Point>),
            Second(crate::Reply<other::Point>),
        }
    }
    let schema = opaque::<before::Root>();
    assert!(schema.opaque().unwrap().contains("serde(rename"), "{:?}", schema.opaque());
    assert_ne!(schema.hash(), opaque::<after::Root>().hash());
    assert_eq!(schema, opaque::<before::Root>(), "the same every time");
    let message = opaque::<before::Message>();
    assert_eq!(message.variants(), ["First", "Second"]);
    assert_ne!(message.hash(), opaque::<after::Message>().hash());
}

#[test]
fn an_opaque_type_s_hash_covers_its_variants_their_order_and_their_contents() {
    macro_rules! message {
        ($name:ident { $($variant:tt)* }) => {
            mod $name {
                use super::apart::{one, other};
                #[derive(serde::Serialize, serde::Deserialize)]
                pub(super) enum Message {
                    Clash(one::Point, other::Point),
                    $($variant)*
                }
            }
        };
    }
    message!(before { A { n: u8 }, B { n: u16 } });
    message!(reordered { B { n: u16 }, A { n: u8 } });
    message!(renamed { A { n: u8 }, C { n: u16 } });
    message!(changed { A { n: u8 }, B { n: u32 } });
    message!(field { A { n: u8 }, B { m: u16 } });
    message!(more { A { n: u8 }, B { n: u16 }, C });
    message!(unnamed { A { n: u8 }, B(u16) });
    let hashes = [
        opaque::<before::Message>().hash(),
        opaque::<reordered::Message>().hash(),
        opaque::<renamed::Message>().hash(),
        opaque::<changed::Message>().hash(),
        opaque::<field::Message>().hash(),
        opaque::<more::Message>().hash(),
        opaque::<unnamed::Message>().hash(),
    ];
    let distinct: std::collections::BTreeSet<_> = hashes.into_iter().collect();
    assert_eq!(distinct.len(), hashes.len(), "{hashes:x?}");
}

/// A number that takes no value that is made up.
#[derive(Serialize)]
struct Fussy(u32);

impl<'de> Deserialize<'de> for Fussy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fussy, D::Error> {
        let number = u32::deserialize(from)?;
        if number > 9 { Ok(Fussy(number)) } else { Err(serde::de::Error::custom("too small")) }
    }
}

#[test]
fn the_names_of_a_type_of_which_no_value_can_be_made_are_in_its_hash() {
    mod before {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Message {
            fussy: super::Fussy,
            a: u32,
            b: u32,
        }
    }
    mod after {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Message {
            fussy: super::Fussy,
            b: u32,
            a: u32,
        }
    }
    assert_ne!(opaque::<before::Message>().hash(), opaque::<after::Message>().hash());
}

#[test]
fn an_opaque_type_s_hash_is_frozen() {
    #[derive(Serialize, Deserialize)]
    enum Message {
        Clash(apart::one::Point, apart::other::Point),
        Map(BTreeMap<String, Option<(u8, Vec<char>)>>),
        Shared(Box<[Unit; 2]>),
    }
    #[derive(Serialize, Deserialize)]
    struct Unit;
    let schema = opaque::<Message>();
    let json = r#"{"opaque":"Message","variants":["Clash","Map","Shared"],"seen":"fc57406bb77dd3a8"}"#;
    assert_eq!(schema.json(), json);
    assert!(Printer::new(schema.json()).text(&[1], 100).starts_with("(opaque; 1 byte: 01)"));
}

#[test]
#[expect(clippy::disallowed_types, reason = "what users may write is tried here")]
fn a_hash_map_s_order_is_not_in_an_opaque_type_s_hash() {
    #[derive(Serialize, Deserialize)]
    enum Entry {
        Byte(u8),
        Unit,
    }
    #[derive(Serialize, Deserialize)]
    struct Message(std::collections::HashMap<u32, Entry>, apart::one::Point, apart::other::Point);
    let hash = || {
        let map = (0..50).map(|at| (at, if at % 3 == 0 { Entry::Unit } else { Entry::Byte(1) })).collect();
        let schema = Schema::of(&[Message(map, Default::default(), Default::default())]).unwrap();
        assert!(schema.opaque().is_some());
        schema.hash()
    };
    let first = hash();
    assert!((0..10).all(|_| hash() == first));
}

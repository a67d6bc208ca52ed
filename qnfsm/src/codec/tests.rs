//! The wire format is frozen, hostile bytes are refused, and what one writes another reader reads.

use std::{collections::BTreeMap, fmt::Debug, num::NonZeroU32, time::Duration};

use proptest::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};

use super::*;
use crate::{NodeId, Place, QueueId, RawQueueId, WorkerId};

fn encoded<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::CURRENT.encode(value, &mut bytes).unwrap();
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    Codec::CURRENT.decode(bytes, Trust::Peer)
}

/// What wincode's serde support, an implementation of its own, reads from the same bytes.
fn read_by_wincode<T: DeserializeOwned>(bytes: &[u8]) -> T {
    type Standard = wincode::config::Configuration<
        true,
        { wincode::config::DEFAULT_PREALLOCATION_SIZE_LIMIT },
        wincode::len::UseIntLen<u64>,
        wincode::int_encoding::LittleEndian,
        wincode::int_encoding::VarInt,
        u32,
    >;
    let mut rest = bytes;
    let value = T::deserialize(serde_wincode::Deserializer::<_, Standard>::new(&mut rest)).unwrap();
    assert!(rest.is_empty(), "wincode leaves {} bytes", rest.len());
    value
}

/// What bincode, whose format it is, makes of a value.
fn encoded_by_bincode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard()).unwrap()
}

/// What bincode makes of bytes, if they are a value and nothing else. It allocates what a length claims before it looks for
/// the bytes, so it has a limit.
fn read_by_bincode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let config = bincode::config::standard().with_limit::<10_000>();
    let (value, read) = bincode::serde::decode_from_slice(bytes, config).ok()?;
    (read == bytes.len()).then_some(value)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(u32),
    Tuple(u8, i8),
    Struct { a: String, b: bool },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wide {
    shapes: Vec<Shape>,
    by_name: BTreeMap<String, Option<i64>>,
    pair: (f32, f64),
    letter: char,
    unit: Unit,
    nested: Option<Box<Narrow>>,
}

/// wincode's serde support can't read recursive types, so what is nested is a type of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Narrow {
    shapes: Vec<Shape>,
    numbers: (f32, f64),
    letters: Vec<char>,
}

fn wide() -> Wide {
    let shapes =
        vec![Shape::Unit, Shape::Newtype(251), Shape::Tuple(255, -1), Shape::Struct { a: "ä".into(), b: true }];
    let by_name = BTreeMap::from([("k".to_string(), Some(-1)), ("l".to_string(), None)]);
    let inner = Narrow { shapes: vec![], numbers: (0.0, -0.0), letters: vec!['a', 'ß'] };
    Wide { shapes, by_name, pair: (1.0, 1.5), letter: '€', unit: Unit, nested: Some(Box::new(inner)) }
}

#[rustfmt::skip]
const WIDE_BYTES: &[u8] = &[
    4, 0, 1, 251, 251, 0, 2, 255, 255, 3, 2, 0xc3, 0xa4, 1,
    2, 1, b'k', 1, 1, 1, b'l', 0,
    0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f,
    0xe2, 0x82, 0xac,
    1,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 2, b'a', 0xc3, 0x9f,
];

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>),
}

/// Recursive through every kind of container, with fat values in between, so that each level takes much stack.
#[derive(Debug, Serialize, Deserialize)]
struct Deep {
    before: [u64; 16],
    next: Option<Box<(Unit, Deep)>>,
    more: Vec<Deep>,
    after: [u64; 16],
}

#[derive(Debug, Serialize, Deserialize)]
struct Endless(Box<Endless>);

fn tree(levels: u32) -> Tree {
    (1..levels).fold(Tree::Leaf, |tree, _| Tree::Node(Box::new(tree)))
}

#[track_caller]
fn frozen<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, bytes: &[u8]) {
    assert_eq!(encoded(&value), bytes, "bytes of {value:?}");
    assert_eq!(decode::<T>(bytes).unwrap(), value);
}

#[track_caller]
fn frozen_for_both<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, bytes: &[u8]) {
    assert_eq!(read_by_wincode::<T>(bytes), value);
    frozen(value, bytes);
}

#[test]
fn the_codec_numbers_are_frozen() {
    assert_eq!(Codec::CURRENT.id(), 1);
    assert_eq!(Codec::from_id(1), Some(Codec::Bincode2Standard));
    assert_eq!(Codec::from_id(0), None);
    assert_eq!(Codec::from_id(2), None);
}

#[test]
fn unsigned_integers_are_frozen() {
    frozen_for_both(0_u8, &[0]);
    frozen_for_both(255_u8, &[255]);
    frozen_for_both(250_u16, &[250]);
    frozen_for_both(251_u16, &[251, 251, 0]);
    frozen_for_both(u16::MAX, &[251, 0xff, 0xff]);
    frozen_for_both(250_u32, &[250]);
    frozen_for_both(65_535_u32, &[251, 0xff, 0xff]);
    frozen_for_both(65_536_u32, &[252, 0, 0, 1, 0]);
    frozen_for_both(u32::MAX, &[252, 0xff, 0xff, 0xff, 0xff]);
    frozen_for_both(251_u64, &[251, 251, 0]);
    frozen_for_both(u64::from(u32::MAX) + 1, &[253, 0, 0, 0, 0, 1, 0, 0, 0]);
    frozen_for_both(u64::MAX, &[253, 255, 255, 255, 255, 255, 255, 255, 255]);
    frozen(250_u128, &[250]);
    frozen(u128::from(u64::MAX) + 1, &[254, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn signed_integers_are_frozen() {
    frozen_for_both(-1_i8, &[255]);
    frozen_for_both(0_i16, &[0]);
    frozen_for_both(-1_i16, &[1]);
    frozen_for_both(1_i32, &[2]);
    frozen_for_both(125_i32, &[250]);
    frozen_for_both(-126_i32, &[251, 251, 0]);
    frozen_for_both(-32_768_i32, &[251, 0xff, 0xff]);
    frozen_for_both(32_768_i32, &[252, 0, 0, 1, 0]);
    frozen_for_both(i64::MIN, &[253, 255, 255, 255, 255, 255, 255, 255, 255]);
    frozen(-1_i128, &[1]);
    frozen(i128::MIN, &[254, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]);
}

#[test]
fn other_plain_values_are_frozen() {
    frozen_for_both((false, true), &[0, 1]);
    frozen_for_both(-2.5_f32, &[0, 0, 0x20, 0xc0]);
    frozen_for_both(0.1_f64, &[0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f]);
    frozen_for_both('a', b"a");
    frozen_for_both('\u{10ffff}', &[0xf4, 0x8f, 0xbf, 0xbf]);
    frozen_for_both("naïve".to_string(), b"\x06na\xc3\xafve");
    frozen_for_both((), &[]);
    frozen_for_both(None::<u8>, &[0]);
    frozen_for_both(Some(7_u8), &[1, 7]);
    frozen_for_both(Duration::new(300, 1), &[251, 44, 1, 1]);
    frozen_for_both(NonZeroU32::MIN, &[1]);
}

#[test]
fn containers_are_frozen() {
    frozen_for_both(vec![1_u16, 300], &[2, 1, 251, 44, 1]);
    frozen_for_both([1_u16, 300], &[1, 251, 44, 1]);
    frozen_for_both(vec![0_u8; 251], &[&[251, 251, 0][..], &[0; 251]].concat());
    frozen_for_both(BTreeMap::from([(1_u8, 'x'), (2, 'y')]), &[2, 1, b'x', 2, b'y']);
    frozen_for_both(Shape::Unit, &[0]);
    frozen_for_both(Shape::Newtype(1), &[1, 1]);
    frozen_for_both(Shape::Tuple(2, -2), &[2, 2, 254]);
    frozen_for_both(Shape::Struct { a: String::new(), b: false }, &[3, 0, 0]);
    frozen_for_both(wide(), WIDE_BYTES);
}

#[test]
fn queue_ids_are_frozen_and_refused_from_peers_alone() {
    let raw = RawQueueId::new(NodeId(0), Place::worker(WorkerId(1)), 300, 2);
    let value = (1_u8, Some(QueueId::<Shape>::from_raw(raw)));
    let bytes = encoded(&value);
    assert_eq!(bytes, [1, 1, 0, 2, 251, 44, 1, 2]);
    let codec = Codec::CURRENT;
    assert_eq!(codec.decode(&bytes, Trust::Node), Ok(value));
    assert_eq!(codec.decode::<(u8, Option<QueueId<Shape>>)>(&bytes, Trust::Peer), Err(DecodeError::QueueIdFromPeer));
    assert_eq!(codec.decode::<(u8, Option<QueueId<Shape>>)>(&[1, 0], Trust::Peer), Ok((1, None)));
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut claim = vec![253];
    claim.extend_from_slice(&(1_u64 << 60).to_le_bytes());
    assert_eq!(decode::<String>(&claim), Err(DecodeError::CutShort));
    assert_eq!(decode::<Bytes>(&claim), Err(DecodeError::CutShort));
    for fault in [
        decode::<Vec<u8>>(&claim).unwrap_err(),
        decode::<Vec<[u64; 32]>>(&claim).unwrap_err(),
        decode::<BTreeMap<String, String>>(&claim).unwrap_err(),
    ] {
        // Where addresses have 32 bits, such a length is no number of elements at all.
        assert!(matches!(fault, DecodeError::TooManyElements | DecodeError::Malformed(_)), "{fault:?}");
    }
}

/// A byte array that asks for an owned buffer.
#[derive(Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
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
        deserializer.deserialize_byte_buf(Visitor)
    }
}

#[test]
fn byte_arrays_come_back() {
    assert_eq!(decode::<Bytes>(&[2, 8, 9]), Ok(Bytes(vec![8, 9])));
}

#[test]
fn elements_that_take_no_bytes_are_few() {
    assert_eq!(decode::<Vec<()>>(&[252, 0xff, 0xff, 0xff, 0xff]), Err(DecodeError::TooManyElements));
    // The second level's claims count together: 5 claims of 500 in a value of 16 bytes.
    let claims = [&[5][..], &[251, 244, 1].repeat(5)].concat();
    assert_eq!(decode::<Vec<Vec<()>>>(&claims), Err(DecodeError::TooManyElements));
}

#[test]
fn encode_and_decode_agree_on_how_many_elements_there_may_be() {
    let most = ELEMENTS_BEYOND_BYTES_MAX + 3;
    frozen(vec![(); most], &[251, 3, 4]);
    let mut out = vec![42];
    let error = Codec::CURRENT.encode(&vec![(); most + 1], &mut out).unwrap_err();
    assert_eq!(error, EncodeError::TooManyElements { elements: most + 1, bytes: 3 });
    assert_eq!(out, [42], "an error leaves the buffer as it was");
    assert_eq!(decode::<Vec<()>>(&[251, 4, 4]), Err(DecodeError::TooManyElements));
}

#[test]
fn encode_and_decode_agree_on_how_deep_a_value_may_nest() {
    let mut bytes = vec![1; NESTING_MAX as usize - 1];
    bytes.push(0);
    frozen(tree(NESTING_MAX), &bytes);
    assert_eq!(Codec::CURRENT.encode(&tree(NESTING_MAX + 1), &mut Vec::new()), Err(EncodeError::NestingTooDeep));
    bytes.insert(0, 1);
    assert_eq!(decode::<Tree>(&bytes), Err(DecodeError::NestingTooDeep));
    assert_eq!(decode::<Tree>(&vec![1; 1 << 20]), Err(DecodeError::NestingTooDeep));
    assert_eq!(decode::<Endless>(&[]).unwrap_err(), DecodeError::NestingTooDeep);
}

#[test]
fn what_may_be_sent_can_be_kept_within_other_values() {
    let deepest = || vec![Some(tree(NESTING_MAX))];
    let hollow = || vec![vec![(); ELEMENTS_BEYOND_BYTES_MAX]; 3];
    let (value, mut bytes) = ((deepest(), hollow()), Vec::new());
    assert_eq!(Codec::CURRENT.encode(&deepest(), &mut bytes), Err(EncodeError::NestingTooDeep));
    Codec::CURRENT.encode(&hollow(), &mut bytes).unwrap_err();
    Codec::CURRENT.encode_image(&value, &mut bytes).unwrap();
    assert_eq!(Codec::CURRENT.decode_image(&bytes), Ok(value));
    let too_deep = tree(2 * NESTING_MAX + 1);
    assert_eq!(Codec::CURRENT.encode_image(&too_deep, &mut bytes), Err(EncodeError::NestingTooDeep));
    assert_eq!(Codec::CURRENT.decode_image::<Tree>(&[1; 200]), Err(DecodeError::NestingTooDeep));
    assert_eq!(Codec::CURRENT.decode_image::<Vec<()>>(&[252, 0, 0, 1, 0]), Err(DecodeError::TooManyElements));
}

#[test]
fn the_deepest_value_takes_a_small_part_of_a_thread_s_stack() {
    // A thread has 2 MiB unless told otherwise; this one has a quarter of that.
    let deepest = || {
        let mut bytes = [&[0; 16][..], &[1]].concat().repeat(32);
        bytes.push(0);
        assert_eq!(decode::<Deep>(&bytes).unwrap_err(), DecodeError::NestingTooDeep);
        assert_eq!(decode::<Tree>(&[1; 1024]).unwrap_err(), DecodeError::NestingTooDeep);
        Codec::CURRENT.encode(&tree(NESTING_MAX + 1), &mut Vec::new()).unwrap_err();
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(deepest).unwrap().join().unwrap();
    let deepest_image = || {
        let bytes = [&[0; 16][..], &[1]].concat().repeat(64);
        assert_eq!(Codec::CURRENT.decode_image::<Deep>(&bytes).unwrap_err(), DecodeError::NestingTooDeep);
        Codec::CURRENT.encode_image(&tree(2 * NESTING_MAX + 1), &mut Vec::new()).unwrap_err();
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(deepest_image).unwrap().join().unwrap();
}

#[test]
fn bytes_that_are_no_value_say_why() {
    #[track_caller]
    fn refused<T: DeserializeOwned + Debug>(bytes: &[u8], why: &str) {
        let DecodeError::Malformed(text) = decode::<T>(bytes).unwrap_err() else { panic!("{bytes:?} are malformed") };
        assert!(text.contains(why), "{text}");
    }
    refused::<bool>(&[2], "a bool is 0 or 1, not 2");
    refused::<Option<u8>>(&[2, 0], "an option begins with 0 or 1, not 2");
    refused::<u16>(&[252, 0, 0, 0, 0], "the byte 252 begins no number of type u16");
    refused::<u32>(&[253, 0, 0, 0, 0, 0, 0, 0, 0], "the byte 253 begins no number of type u32");
    refused::<u64>(&[254; 17], "the byte 254 begins no number of type u64");
    refused::<u128>(&[255; 17], "the byte 255 begins no number of type u128");
    refused::<char>(&[0xc0, 0x80], "0xc0");
    refused::<char>(&[0xed, 0xa0, 0x80], "[ed, a0, 80] are no character");
    refused::<String>(&[2, 0xc3, 0x28], "a text is not UTF-8");
    refused::<Shape>(&[4], "expected variant index 0 <= i < 4");
}

#[test]
fn what_is_left_over_is_an_error() {
    assert_eq!(decode::<u8>(&[1, 2, 3]), Err(DecodeError::Trailing { left: 2 }));
    assert_eq!(decode::<u8>(&[]), Err(DecodeError::CutShort));
}

#[test]
fn elements_that_the_type_does_not_take_are_an_error() {
    /// Takes one element of however many there are.
    #[derive(Debug)]
    struct First;
    impl<'de> Deserialize<'de> for First {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<First, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = First;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a sequence")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<First, A::Error> {
                    elements.next_element::<u8>().map(|_| First)
                }
            }
            deserializer.deserialize_seq(Visitor)
        }
    }
    decode::<First>(&[1, 5]).unwrap();
    assert_eq!(decode::<First>(&[2, 5, 6]).unwrap_err(), DecodeError::ElementsLeft { left: 1 });
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    #[derive(Serialize)]
    struct Flat {
        #[serde(flatten)]
        inner: BTreeMap<String, u8>,
    }
    #[derive(Serialize)]
    struct Skips {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<u8>,
    }
    struct Lies;
    impl Serialize for Lies {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut elements = serializer.serialize_seq(Some(2))?;
            elements.serialize_element(&1_u8)?;
            elements.end()
        }
    }
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    #[track_caller]
    fn refused(value: &impl Serialize) -> EncodeError {
        let mut out = vec![1, 2];
        let error = Codec::CURRENT.encode(&(3, value), &mut out).unwrap_err();
        assert_eq!(out, [1, 2], "an error leaves the buffer as it was");
        error
    }
    assert_eq!(refused(&Flat { inner: BTreeMap::new() }), EncodeError::LengthUnknown);
    assert_eq!(refused(&Skips { name: None }), EncodeError::FieldSkipped { of: "Skips", field: "name" });
    assert_eq!(encoded(&Skips { name: Some(1) }), [1, 1]);
    assert_eq!(refused(&Lies), EncodeError::LengthWrong { said: 2, given: 1 });
    assert_eq!(refused(&Refuses), EncodeError::Refused("not today".to_string()));
}

#[test]
fn types_that_ask_the_bytes_what_they_are_are_told_why_not() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Either {
        A(u8),
        B(String),
    }
    assert_eq!(decode::<Either>(&[1]).unwrap_err(), DecodeError::NotSelfDescribing);
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error_or_a_value_but_no_panic() {
    for cut in 0..WIDE_BYTES.len() {
        decode::<Wide>(&WIDE_BYTES[..cut]).unwrap_err();
    }
    let mut refused = 0;
    for at in 0..WIDE_BYTES.len() {
        for bit in 0..8 {
            let mut bytes = WIDE_BYTES.to_vec();
            bytes[at] ^= 1 << bit;
            match decode::<Wide>(&bytes) {
                Ok(value) => drop(encoded(&value)),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100, "only {refused} changes were noticed");
}

/// One of each that is no container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Plain {
    unsigned: (u8, u16, u32, u64, u128, usize),
    signed: (i8, i16, i32, i64, i128, isize),
    truth: bool,
    letter: char,
    text: String,
    floats: (f32, f64),
    may_be: Option<Option<u16>>,
    array: [u16; 3],
    time: Duration,
}

/// A number of any length.
fn of_any_length() -> impl Strategy<Value = u128> {
    (any::<u128>(), 0..128_u32).prop_map(|(number, shift)| number >> shift)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "any number does")]
fn plains() -> impl Strategy<Value = Plain> {
    let numbers = proptest::array::uniform12(of_any_length());
    let others = (any::<bool>(), any::<char>(), any::<String>(), any::<Option<Option<u16>>>(), any::<[u16; 3]>());
    (numbers, others, -1e30_f32..1e30).prop_map(|(n, (truth, letter, text, may_be, array), float)| Plain {
        unsigned: (n[0] as u8, n[1] as u16, n[2] as u32, n[3] as u64, n[4], n[5] as usize),
        signed: (n[6] as i8, n[7] as i16, n[8] as i32, n[9] as i64, n[10] as i128, n[11] as isize),
        truth,
        letter,
        text,
        floats: (float, f64::from(float)),
        may_be,
        array,
        time: Duration::from_nanos(n[0] as u64),
    })
}

/// A byte, mostly one at which the format's meaning changes.
fn edgy() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), 0..3_u8, 248..=255_u8, 0x7e..0x82_u8, 0xbe..0xf6_u8]
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Unit),
        any::<u32>().prop_map(Shape::Newtype),
        any::<(u8, i8)>().prop_map(|(a, b)| Shape::Tuple(a, b)),
        any::<(String, bool)>().prop_map(|(a, b)| Shape::Struct { a, b }),
    ]
}

fn wides() -> impl Strategy<Value = Wide> {
    let shapes = || proptest::collection::vec(shapes(), 0..8);
    let by_name = proptest::collection::btree_map(any::<String>(), any::<Option<i64>>(), 0..4);
    let numbers = || (-1e30_f32..1e30, -1e300_f64..1e300);
    let narrow = (shapes(), numbers(), any::<Vec<char>>())
        .prop_map(|(shapes, numbers, letters)| Box::new(Narrow { shapes, numbers, letters }));
    (shapes(), by_name, numbers(), any::<char>(), proptest::option::of(narrow))
        .prop_map(|(shapes, by_name, pair, letter, nested)| Wide { shapes, by_name, pair, letter, unit: Unit, nested })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_come_back(value in wides()) {
        let bytes = encoded(&value);
        prop_assert_eq!(decode::<Wide>(&bytes).unwrap(), read_by_wincode::<Wide>(&bytes));
        prop_assert_eq!(decode::<Wide>(&bytes).unwrap(), value);
    }

    #[test]
    fn values_are_written_as_bincode_writes_them(value in wides(), plain in plains()) {
        prop_assert_eq!(encoded(&value), encoded_by_bincode(&value));
        prop_assert_eq!(encoded(&plain), encoded_by_bincode(&plain));
        prop_assert_eq!(Codec::CURRENT.encoded_bytes(&value), encoded(&value).len() as u64);
        prop_assert_eq!(decode::<Plain>(&encoded(&plain)).unwrap(), plain);
    }

    /// Of one type, and of bytes that are a value of it but for some of them.
    #[test]
    fn bytes_are_read_as_bincode_reads_them(
        value in wides(),
        plain in plains(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), edgy()), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let changed = |mut bytes: Vec<u8>| {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1)));
            bytes
        };
        let (wide, plain) = (changed(encoded(&value)), changed(encoded(&plain)));
        // As text, because a number that is none equals nothing.
        let text = |read: Option<&dyn Debug>| read.map(|read| format!("{read:?}"));
        let ours = (decode::<Wide>(&wide).ok(), decode::<Plain>(&plain).ok());
        let theirs = (read_by_bincode::<Wide>(&wide), read_by_bincode::<Plain>(&plain));
        prop_assert_eq!(text(ours.0.as_ref().map(|it| it as _)), text(theirs.0.as_ref().map(|it| it as _)));
        prop_assert_eq!(text(ours.1.as_ref().map(|it| it as _)), text(theirs.1.as_ref().map(|it| it as _)));
    }

    #[test]
    fn integers_come_back(value in any::<(u16, u32, u64, u128, i16, i32, i64, i128)>()) {
        prop_assert_eq!(decode::<(u16, u32, u64, u128, i16, i32, i64, i128)>(&encoded(&value)).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_an_error_or_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<Wide>(&bytes);
        let _ = decode::<Deep>(&bytes);
        let _ = decode::<Vec<Vec<()>>>(&bytes);
    }
}

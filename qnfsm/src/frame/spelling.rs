//! How a frame is spelled: a header of variable-length integers and a payload, as `docs/JOURNAL_FORMAT.md` has it. A frame
//! with the same header as the one before says so in a byte. Here are the fast ways for short headers and for such runs, and
//! the tests that hold them against the plain way.

use super::{Class, FRAME_PAYLOAD_BYTES_MAX, Frame, FrameFault, Header};
use crate::id::{NodeId, Place, RawQueueId, RequestId};

const CLASS_MASK: u8 = 0x0f;
const HAS_REQUEST: u8 = 0x10;
const UNTRUSTED: u8 = 0x20;
/// In place of flags and header: those of the frame before. It made no request, because no two requests are the same.
const AGAIN: u8 = 0x40;

/// Appends a number in LEB128: seven bits a byte, low ones first, the high bit set on all but the last.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Takes a number from the front of `bytes`. Only the shortest spelling is read.
#[inline]
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Result<u64, FrameFault> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(FrameFault::CutShort)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(FrameFault::BadNumber);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return if byte == 0 && shift != 0 { Err(FrameFault::BadNumber) } else { Ok(value) };
        }
    }
    Err(FrameFault::BadNumber)
}

#[inline]
fn take_u32(bytes: &mut &[u8]) -> Result<u32, FrameFault> {
    u32::try_from(take_varint(bytes)?).map_err(|_| FrameFault::BadNumber)
}

/// A header's numbers beside the payload's length and the request, in the order in which they are spelled.
type Numbers = [u32; 7];

/// The bits that only numbers of more than one byte have, in eight numbers of one byte each.
const LONGER: u64 = 0x8080_8080_8080_8080;

/// Takes one frame from the front of `bytes`.
#[inline]
pub(super) fn take_frame<'a>(bytes: &mut &'a [u8]) -> Result<Frame<'a>, FrameFault> {
    // Most headers are flags and eight numbers of one byte each, which are read together.
    if let Some((&[flags, ref numbers @ ..], rest)) = bytes.split_first_chunk::<9>()
        && u64::from_le_bytes(*numbers) & LONGER == 0
        && flags & HAS_REQUEST == 0
    {
        let [payload_len, numbers @ ..] = numbers.map(u32::from);
        *bytes = rest;
        return take_payload(bytes, flags, u64::from(payload_len), numbers, None);
    }
    take_long_frame(bytes)
}

/// Takes the payload of the frame at the front of `bytes`, if it repeats the header of the one before.
#[inline]
pub(super) fn take_repeated<'a>(bytes: &mut &'a [u8]) -> Option<Result<&'a [u8], FrameFault>> {
    let (&[AGAIN], rest) = bytes.split_first_chunk()? else { return None };
    *bytes = rest;
    Some(take_varint(bytes).and_then(|payload_len| take_bytes(bytes, payload_len)))
}

/// As [`take_repeated`], if the payload's length is one byte and all of it is there; else nothing is taken.
#[inline]
pub(super) fn take_short_repeated<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&[AGAIN, payload_len @ ..0x80], rest) = bytes.split_first_chunk()? else { return None };
    let (payload, rest) = rest.split_at_checked(usize::from(payload_len))?;
    *bytes = rest;
    Some(payload)
}

#[inline]
fn class_of(flags: u8) -> Result<Class, FrameFault> {
    let known = flags & !(CLASS_MASK | HAS_REQUEST | UNTRUSTED) == 0;
    Class::from_bits(flags & CLASS_MASK).filter(|_| known).ok_or(FrameFault::UnknownClass(flags))
}

fn take_long_frame<'a>(bytes: &mut &'a [u8]) -> Result<Frame<'a>, FrameFault> {
    let (&flags, rest) = bytes.split_first().ok_or(FrameFault::CutShort)?;
    // Before the numbers, which may be others where the class is one that this version doesn't know.
    class_of(flags)?;
    *bytes = rest;
    let payload_len = take_varint(bytes)?;
    let mut numbers = Numbers::default();
    for number in &mut numbers {
        *number = take_u32(bytes)?;
    }
    let request = if flags & HAS_REQUEST == 0 { None } else { Some(RequestId(take_varint(bytes)?)) };
    take_payload(bytes, flags, payload_len, numbers, request)
}

#[inline]
fn take_payload<'a>(
    bytes: &mut &'a [u8],
    flags: u8,
    payload_len: u64,
    numbers: Numbers,
    request: Option<RequestId>,
) -> Result<Frame<'a>, FrameFault> {
    let class = class_of(flags)?;
    let payload = take_bytes(bytes, payload_len)?;
    let untrusted = flags & UNTRUSTED != 0;
    let [type_number, slot, generation, node, place, sender_slot, sender_generation] = numbers;
    let sender = RawQueueId::new(NodeId(node), Place::from_bits(place), sender_slot, sender_generation);
    Ok(Frame { header: Header { class, untrusted, type_number, slot, generation, sender, request }, payload })
}

/// Takes a payload of that length.
#[inline]
fn take_bytes<'a>(bytes: &mut &'a [u8], payload_len: u64) -> Result<&'a [u8], FrameFault> {
    if payload_len > FRAME_PAYLOAD_BYTES_MAX as u64 {
        return Err(FrameFault::TooLong(payload_len));
    }
    let payload_len = usize::try_from(payload_len).map_err(|_| FrameFault::TooLong(payload_len))?;
    let (payload, rest) = bytes.split_at_checked(payload_len).ok_or(FrameFault::CutShort)?;
    *bytes = rest;
    Ok(payload)
}

/// Appends a frame whose payload `encode` appends; nothing if that fails, or the payload is too long.
#[inline]
pub(super) fn put_frame<E>(
    out: &mut Vec<u8>,
    header: &Spelled,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), Unput<E>> {
    let start = out.len();
    header.put(out);
    let payload_at = out.len();
    let payload_len = match encode(out) {
        Ok(()) if out.len() - payload_at <= FRAME_PAYLOAD_BYTES_MAX => out.len() - payload_at,
        unput => {
            out.truncate(start);
            return Err(unput.err().map_or(Unput::TooLong, Unput::Encode));
        }
    };
    // Most payloads are so short that their length is one byte, for which there is room.
    match u8::try_from(payload_len) {
        Ok(short) if short < 0x80 => out[start + 1] = short,
        _ => {
            let mut spelled = Vec::new();
            put_varint(&mut spelled, payload_len as u64);
            out.splice(start + 1..start + 2, spelled);
        }
    }
    Ok(())
}

/// Why a frame was not put.
#[derive(Debug)]
pub(crate) enum Unput<E> {
    /// Its payload is longer than [`FRAME_PAYLOAD_BYTES_MAX`].
    TooLong,
    /// Its payload can't be encoded.
    Encode(E),
}

/// A header as it is spelled, with a byte in which the payload's length is to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelled {
    /// Flags and eight numbers of one byte each.
    Short([u8; 9]),
    /// Another, which is spelled number by number.
    Long(u8, Numbers, Option<RequestId>),
    /// The one of the frame before.
    Again,
}

impl Spelled {
    /// The spelling of a header. It serves for all frames that have that header.
    #[inline]
    pub(crate) fn of(header: &Header) -> Spelled {
        let Header { class, untrusted, type_number, slot, generation, sender, request } = *header;
        let has_request = if request.is_some() { HAS_REQUEST } else { 0 };
        let flags = class.to_bits() | has_request | if untrusted { UNTRUSTED } else { 0 };
        let (node, place) = (sender.node().0, sender.place().to_bits());
        let numbers = [type_number, slot, generation, node, place, sender.slot(), sender.generation()];
        if request.is_none() && numbers.iter().fold(0, |all, number| all | number) < 0x80 {
            let [a, b, c, d, e, f, g] = numbers.map(|number| number.to_le_bytes()[0]);
            Spelled::Short([flags, 0, a, b, c, d, e, f, g])
        } else {
            Spelled::Long(flags, numbers, request)
        }
    }

    /// The next frame may say that it has the same.
    #[inline]
    pub(super) fn can_be_repeated(&self) -> bool {
        !matches!(self, Spelled::Long(_, _, Some(_)))
    }

    #[inline(always)]
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Spelled::Short(bytes) => out.extend_from_slice(bytes),
            Spelled::Again => out.extend_from_slice(&[AGAIN, 0]),
            Spelled::Long(flags, numbers, request) => {
                out.extend_from_slice(&[*flags, 0]);
                numbers.iter().for_each(|number| put_varint(out, u64::from(*number)));
                request.iter().for_each(|request| put_varint(out, request.0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        frame::{Batch, BatchRef, FrameError},
        id::{EdgeId, Epoch, WorkerId},
    };

    fn header() -> Header {
        let sender = RawQueueId::new(NodeId(0), Place::worker(WorkerId(3)), 300, 2);
        let target = RawQueueId::new(NodeId(0), Place::worker(WorkerId(1)), 7, 1);
        Header { request: Some(RequestId(u64::MAX)), untrusted: true, ..Header::message(5, target, sender) }
    }

    #[test]
    fn frames_come_back_as_they_were_put() {
        let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 10);
        batch.push(&header(), b"one");
        batch.push(&header(), b"");
        let frames: Vec<_> = batch.as_ref().frames().map(Result::unwrap).collect();
        assert_eq!(frames, [Frame { header: header(), payload: b"one" }, Frame { header: header(), payload: b"" }]);
    }

    #[test]
    fn the_layout_is_frozen() {
        let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 1);
        batch.push(&header(), b"ab");
        assert_eq!(
            batch.as_ref().bytes,
            [
                0x30, 2, 5, 7, 1, 0, 6, 0xac, 0x02, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
                b'a', b'b'
            ]
        );
    }

    #[test]
    fn a_repeated_header_is_spelled_as_one_byte() {
        let plain = Header { request: None, ..header() };
        let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 1);
        let mut lengths = Vec::new();
        for (header, payload_len) in [(plain, 1), (plain, 0), (plain, 200), (header(), 0), (header(), 0), (plain, 0)] {
            let before = batch.bytes_len();
            batch.push(&header, &vec![7; payload_len]);
            lengths.push(batch.bytes_len() - before - payload_len);
        }
        assert_eq!(lengths, [10, 2, 3, 20, 20, 10], "and one that makes a request is not repeated");
        assert_eq!(batch.as_ref().bytes[11..13], [0x40, 0]);
        let headers: Vec<_> = batch.as_ref().frames().map(|frame| frame.unwrap().header).collect();
        assert_eq!(headers, [plain, plain, plain, header(), header(), plain]);
    }

    #[test]
    fn there_must_be_a_header_to_repeat() {
        let fault = |put: &[Header]| {
            let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 1);
            put.iter().for_each(|header| batch.push(header, b"p"));
            let bytes = [batch.as_ref().bytes, &[AGAIN, 1, b'p']].concat();
            let batch = BatchRef { bytes: &bytes, count: batch.as_ref().count + 1, ..batch.as_ref() };
            let mut frames = batch.frames();
            for _ in put {
                frames.next().unwrap().unwrap();
            }
            assert_eq!(frames.clone().next_alike().is_some(), frames.next().unwrap().is_ok());
            batch.frames().last().unwrap().err()
        };
        let plain = Header { request: None, ..header() };
        let nothing = |offset| Some(FrameError { offset, reason: FrameFault::NothingToRepeat });
        assert_eq!(fault(&[]), nothing(0));
        assert_eq!(fault(&[header()]), nothing(21));
        assert_eq!(fault(&[plain, header()]), nothing(32));
        assert_eq!(fault(&[header(), plain]), None);
        let flagged = BatchRef {
            source: Place::edge(EdgeId::HOST),
            epoch: Epoch::FIRST,
            first: 1,
            count: 1,
            bytes: &[AGAIN | UNTRUSTED, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        let error = flagged.frames().next().unwrap().unwrap_err();
        assert_eq!(error.reason, FrameFault::UnknownClass(AGAIN | UNTRUSTED));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_a_frame_but_no_panic() {
        let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 1);
        batch.push(&header(), b"payload");
        let whole = batch.as_ref();
        for cut in 0..whole.bytes.len() {
            let cut = BatchRef { bytes: &whole.bytes[..cut], ..whole };
            assert!(cut.frames().any(|frame| frame.is_err()), "cut to {} bytes", cut.bytes.len());
        }
        for at in 0..whole.bytes.len() {
            for bit in 0..8 {
                let mut bytes = whole.bytes.to_vec();
                bytes[at] ^= 1 << bit;
                let _ = BatchRef { bytes: &bytes, ..whole }.frames().count();
            }
        }
    }

    /// How a frame is read, told in the plainest way: one thing after another.
    fn read_plainly<'a>(bytes: &mut &'a [u8]) -> Result<Frame<'a>, FrameFault> {
        let (&flags, rest) = bytes.split_first().ok_or(FrameFault::CutShort)?;
        *bytes = rest;
        let class = Class::from_bits(flags & CLASS_MASK).filter(|_| flags & 0xc0 == 0);
        let class = class.ok_or(FrameFault::UnknownClass(flags))?;
        let payload_len = take_varint(bytes)?;
        let [type_number, slot, generation] = [take_u32(bytes)?, take_u32(bytes)?, take_u32(bytes)?];
        let (node, place) = (NodeId(take_u32(bytes)?), Place::from_bits(take_u32(bytes)?));
        let sender = RawQueueId::new(node, place, take_u32(bytes)?, take_u32(bytes)?);
        let request = if flags & HAS_REQUEST == 0 { None } else { Some(RequestId(take_varint(bytes)?)) };
        if payload_len > FRAME_PAYLOAD_BYTES_MAX as u64 {
            return Err(FrameFault::TooLong(payload_len));
        }
        let payload_len = usize::try_from(payload_len).expect("it is not too long");
        let (payload, rest) = bytes.split_at_checked(payload_len).ok_or(FrameFault::CutShort)?;
        *bytes = rest;
        let untrusted = flags & UNTRUSTED != 0;
        Ok(Frame { header: Header { class, untrusted, type_number, slot, generation, sender, request }, payload })
    }

    /// How a frame is spelled, likewise.
    fn spell_plainly(out: &mut Vec<u8>, header: &Header, payload: &[u8]) {
        let Header { class, untrusted, type_number, slot, generation, sender, request } = *header;
        let has_request = if request.is_some() { HAS_REQUEST } else { 0 };
        out.push(class.to_bits() | has_request | if untrusted { UNTRUSTED } else { 0 });
        put_varint(out, payload.len() as u64);
        for number in [type_number, slot, generation, sender.node().0, sender.place().to_bits()] {
            put_varint(out, u64::from(number));
        }
        put_varint(out, u64::from(sender.slot()));
        put_varint(out, u64::from(sender.generation()));
        request.into_iter().for_each(|request| put_varint(out, request.0));
        out.extend_from_slice(payload);
    }

    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![8 => 0u32..128, 1 => 120u32..140, 1 => any::<u32>()]
    }

    fn any_header() -> impl Strategy<Value = Header> {
        let request = prop::option::of(prop_oneof![0u64..200, any::<u64>()]);
        (0u8..10, any::<bool>(), prop::array::uniform7(number()), request).prop_map(
            |(class, untrusted, [type_number, slot, generation, node, place, of_slot, of], request)| {
                let class = Class::from_bits(class).expect("there are ten classes");
                let sender = RawQueueId::new(NodeId(node), Place::from_bits(place), of_slot, of);
                let request = request.map(RequestId);
                Header { class, untrusted, type_number, slot, generation, sender, request }
            },
        )
    }

    proptest! {
        #[test]
        fn a_frame_is_spelled_and_read_as_if_number_by_number(
            header in any_header(),
            payload_len in prop_oneof![0usize..20, 125usize..131, 16_382usize..16_387],
            before in 0usize..3,
        ) {
            let payload = vec![0xa5; payload_len];
            let mut plainly = vec![7; before];
            let mut put = plainly.clone();
            spell_plainly(&mut plainly, &header, &payload);
            let spelled = put_frame(&mut put, &Spelled::of(&header), |out| { out.extend_from_slice(&payload); Ok::<(), ()>(()) });
            spelled.expect("no payload is too long here");
            prop_assert_eq!(&put, &plainly);
            prop_assert_eq!(take_frame(&mut &put[before..]), Ok(Frame { header, payload: &payload }));
            let unput = put_frame(&mut put, &Spelled::of(&header), |out| { out.push(1); Err(()) });
            prop_assert!(matches!(unput, Err(Unput::Encode(()))));
            prop_assert_eq!(&put, &plainly, "what could not be encoded leaves nothing");
        }

        #[test]
        fn bytes_that_are_no_frame_are_refused_as_if_read_number_by_number(
            header in any_header(),
            payload in prop::collection::vec(any::<u8>(), 0..12),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = Vec::new();
            spell_plainly(&mut bytes, &header, &payload);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
            let (mut rest, mut plain_rest) = (&bytes[..], &bytes[..]);
            let frame = take_frame(&mut rest);
            prop_assert_eq!(&frame, &read_plainly(&mut plain_rest));
            prop_assert!(frame.is_err() || rest == plain_rest);
        }
    }

    proptest! {
        /// Each frame is read by itself, or as one like the last where it is one. Headers differ in little.
        #[test]
        fn a_run_of_frames_is_read_as_if_each_by_itself(
            base in any_header(),
            runs in prop::collection::vec(
                (0u8..2, any::<bool>(), 0u32..2, prop::option::of(0u64..2), prop::collection::vec(0usize..130, 1..6)),
                0..7,
            ),
            alike in prop::collection::vec(any::<bool>(), 40),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 1);
            for (class, untrusted, more, request, lengths) in runs {
                let class = Class::from_bits(class).expect("there are ten classes");
                let slot = base.slot ^ more;
                let header = Header { class, untrusted, slot, request: request.map(RequestId), ..base };
                lengths.iter().for_each(|len| batch.push(&header, &vec![0x85; *len]));
            }
            let whole = batch.as_ref();
            let end = cut.map_or(whole.bytes.len(), |cut| cut.index(whole.bytes.len() + 1));
            let cut = BatchRef { bytes: &whole.bytes[..end], ..whole };
            let each: Vec<_> = cut.frames().collect();
            let (mut frames, mut read) = (cut.frames(), Vec::new());
            for alike in alike {
                let latest = read.last().and_then(|frame: &Result<Frame<'_>, _>| frame.as_ref().ok().copied());
                let payload = if alike { frames.next_alike() } else { None };
                if let Some(payload) = payload {
                    let latest = latest.expect("the first frame is like none");
                    prop_assert_eq!(latest.header.request, None);
                    read.push(Ok(Frame { payload, ..latest }));
                } else {
                    read.extend(frames.next());
                }
            }
            prop_assert_eq!(read, each);
        }
    }

    #[test]
    fn a_longer_length_is_not_taken_for_the_numbers_behind_a_short_one() {
        let ones = RawQueueId::new(NodeId(1), Place::from_bits(1), 1, 1);
        let mut batch = Batch::new(Place::edge(EdgeId::HOST), Epoch::FIRST, 1);
        batch.push(&Header::message(1, ones, ones), b"short");
        batch.push(&Header::message(1, ones, ones), &[1; 128]);
        let mut frames = batch.as_ref().frames();
        frames.next().unwrap().unwrap();
        assert_eq!(frames.next_alike(), None);
        assert_eq!(frames.next().unwrap().unwrap().payload, [1; 128]);
    }

    #[test]
    fn a_payload_that_is_too_long_leaves_nothing() {
        let mut bytes = vec![7];
        let put = put_frame(&mut bytes, &Spelled::of(&header()), |out| {
            out.resize(out.len() + FRAME_PAYLOAD_BYTES_MAX + 1, 0);
            Ok::<(), ()>(())
        });
        assert!(matches!(put, Err(Unput::TooLong)));
        assert_eq!(bytes, [7]);
    }

    #[test]
    fn a_number_has_one_spelling() {
        for mut bytes in [&[0x80, 0x00][..], &[0xff; 10], &[0x80; 11], &[0x80]] {
            take_varint(&mut bytes).unwrap_err();
        }
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(take_varint(&mut &bytes[..]), Ok(value));
        }
    }
}

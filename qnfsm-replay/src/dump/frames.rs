//! From a frame to a line: what its payload is, by its class.

use qnfsm::{
    NodeId, Place, RawQueueId,
    frame::{BatchRef, Class, Frame},
};

use super::{
    Number, Queue, Value, What, Where,
    tables::{Own, Tables},
};

/// The frame with that number of a batch, which is for queues of that node and place.
pub(crate) fn frame_line<'l>(
    own: &'l Own,
    tables: &'l Tables,
    (node, place): (NodeId, Place),
    batch: &BatchRef<'_>,
    (number, frame): (u64, &Frame<'l>),
    chars_max: usize,
) -> What<'l> {
    let (header, payload, number_of_type) = (&frame.header, frame.payload, frame.header.type_number);
    let of_own = |printer| (None, Some(Value::new(Some(printer), payload, chars_max)));
    let (of, value) = match header.class {
        Class::Message | Class::Reply | Class::Spawned => {
            let value = tables.message(number_of_type, payload, chars_max);
            (Some(tables.message_name(number_of_type)), Some(value))
        }
        Class::Spawn => {
            let data = tables.kind(number_of_type).map(|kind| kind.data);
            let start_value = frame.spawned().map_or(payload, |(_, start_value)| start_value);
            (Some(tables.kind_name(number_of_type)), Some(Value::new(data, start_value, chars_max)))
        }
        Class::Failed => of_own(&own.no_reply),
        Class::Down => of_own(&own.down_reason),
        Class::Refused => of_own(&own.text),
        _ => (None, None),
    };
    What::Frame {
        source: Where(batch.source),
        source_epoch: batch.epoch.0,
        number: Number(number),
        class: class_name(header.class),
        untrusted: header.untrusted,
        to: Queue(RawQueueId::new(node, place, header.slot, header.generation)),
        from: Queue(header.sender),
        request: header.request.map(Into::into),
        of,
        value,
    }
}

/// A class of frames, as the format's page calls it.
fn class_name(class: Class) -> &'static str {
    match class {
        Class::Message => "message",
        Class::Reply => "reply",
        Class::Failed => "failed",
        Class::Spawn => "spawn",
        Class::Stop => "stop",
        Class::Watch => "watch",
        Class::Unwatch => "unwatch",
        Class::Down => "down",
        Class::Refused => "refused",
        Class::Spawned => "spawned",
        _ => "unknown",
    }
}

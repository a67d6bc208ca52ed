//! Bytes that no worker wrote: a snapshot with any byte changed, or cut anywhere, is an error or a worker that runs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use qnfsm::{
    Codec, EdgeId, Epoch, Place, Time, Worker,
    frame::{Batch, Class, Header},
};

use crate::{
    puppet::{Act, Op, To, Which, note, told},
    stage::{Ports, Stage, catalogue, outside, push_order, queue},
    twins::busy,
};

/// Runs 20 rounds of what a snapshot made, with orders to all FSMs. `None` if the bytes were refused.
fn run(image: &[u8]) -> Option<()> {
    let mut worker = Worker::restore(catalogue(), image).ok()?;
    let mut again = vec![];
    worker.snapshot(&mut again).expect("what was read can be written");
    let mut now = worker.now().as_nanos();
    let source = Place::edge(EdgeId(50));
    for count in 0..20 {
        now = now.saturating_add(if count == 15 { u64::MAX / 2 } else { 700 });
        let mut batch = Batch::new(source, Epoch(u32::MAX), count * 6 + 1);
        for slot in 0..6 {
            let ops = vec![
                Op::Spawn(Which::Restarting, vec![]),
                Op::Request(To::Me, 500, Act::Keep),
                Op::AnswerKept(1),
                Op::CancelRequest,
                Op::CancelTimer("e".into()),
                Op::After(300, note(5)),
                Op::Draw,
            ];
            let order = match count % 4 {
                0 => told(1, ops),
                1 => crate::puppet::then(1, vec![], crate::puppet::Then::Goto(2)),
                2 => told(2, vec![Op::Panic]),
                _ => crate::puppet::then(1, vec![], crate::puppet::Then::Stop),
            };
            // Half of the slots keep their FSMs.
            let order = if slot % 2 == 0 || count % 4 < 2 { order } else { note(3) };
            push_order(&mut batch, &catalogue(), queue(slot, 1), &order);
        }
        worker.feed(Time::from_nanos(now), [batch.as_ref()]);
        let end = worker.round(40, &mut Ports::default());
        worker.drain_outputs(|_, _| {});
        if end.fault.is_some() {
            return Some(());
        }
    }
    let mut image = vec![];
    worker.snapshot(&mut image).expect("what ran can be written");
    Worker::restore(catalogue(), &image).expect("what it wrote is a worker");
    Some(())
}

#[test]
fn a_snapshot_with_any_byte_changed_is_refused_or_runs() {
    let image = busy().image();
    assert_eq!(run(&image), Some(()));
    let (mut refused, mut ran) = (0, 0);
    for at in 0..image.len() {
        for other in [image[at] ^ 1, image[at] ^ 0x80, image[at].wrapping_add(1), 0, 250, 251, 253] {
            let mut changed = image.clone();
            changed[at] = other;
            match catch_unwind(AssertUnwindSafe(|| run(&changed))) {
                Ok(None) => refused += 1,
                Ok(Some(())) => ran += 1,
                Err(_) => panic!("byte {at} of {} set to {other}: a panic", image.len()),
            }
        }
    }
    assert!(refused > 1000 && ran > 1000, "{refused} were refused and {ran} ran; both are of interest");
}

/// Where a number of `len` bytes may stand behind its mark, in bincode's way of writing numbers.
fn marked(image: &[u8], mark: u8, len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let starts = (1..=image.len().saturating_sub(len)).filter(move |at| image[at - 1] == mark);
    starts.map(move |at| at..at + len)
}

#[test]
fn a_snapshot_with_any_long_number_changed_is_refused_or_runs() {
    let image = busy().image();
    let mut count = 0;
    for (mark, len) in [(251, 2), (252, 4), (253, 8)] {
        for number in marked(&image, mark, len) {
            for other in [0, 0xff] {
                let mut changed = image.clone();
                changed[number.clone()].fill(other);
                let ran = catch_unwind(AssertUnwindSafe(|| run(&changed)));
                assert!(ran.is_ok(), "bytes {number:?} filled with {other}: a panic");
                count += 1;
            }
        }
    }
    assert!(count > 20, "{count} numbers");
}

#[test]
fn a_generator_that_gives_only_zeros_is_refused() {
    let image = busy().image();
    // Four numbers of eight bytes, each behind its mark, are a generator.
    let generators: Vec<_> = marked(&image, 253, 8)
        .map(|number| number.start)
        .filter(|at| (0..4).all(|nth| image.get(at - 1 + nth * 9) == Some(&253)))
        .collect();
    assert!(!generators.is_empty());
    for at in generators {
        let mut changed = image.clone();
        (0..4).for_each(|nth| changed[at + nth * 9..at + nth * 9 + 8].fill(0));
        assert!(Worker::restore(catalogue(), &changed).is_err());
    }
}

#[test]
fn a_snapshot_cut_anywhere_or_with_more_behind_it_is_refused() {
    let image = busy().image();
    for len in 0..image.len() {
        assert!(Worker::restore(catalogue(), &image[..len]).is_err(), "cut to {len} bytes");
    }
    let longer = [image.as_slice(), &[0]].concat();
    assert!(Worker::restore(catalogue(), &longer).is_err());
}

#[test]
fn a_snapshot_of_other_kinds_is_refused() {
    let image = Stage::with(&[Which::Nothing]).image();
    let fewer = qnfsm::Kinds::new().with::<crate::puppet::Puppet<crate::puppet::Plain>>();
    assert!(Worker::restore(fewer.seal().unwrap(), &image).is_err());
}

#[test]
fn a_message_from_an_untrusted_peer_may_name_no_queue() {
    let mut stage = Stage::with(&[Which::Plain]);
    let number = stage.worker.catalogue().type_number::<crate::puppet::Order>().unwrap();
    let header = Header { untrusted: true, ..Header::message(number, queue(0, 1).raw(), outside().raw()) };
    let encoded = |order| {
        let mut payload = vec![];
        Codec::CURRENT.encode(&order, &mut payload).unwrap();
        payload
    };
    let names = encoded(told(1, vec![Op::Send(To::Queue(outside()), note(2))]));
    // Before others that are spelled alike, and behind one.
    stage.put_frame(&header, &names);
    stage.put_frame(&header, &encoded(told(3, vec![Op::Draw])));
    stage.put_frame(&header, &names);
    stage.put_frame(&header, &encoded(told(4, vec![Op::Draw]))).run();
    assert_eq!(stage.labels(0), [3, 4]);
    assert_eq!(stage.dead(qnfsm::Undelivered::NotUnderstood), 2);
    let refused = |batch: &Batch| batch.as_ref().frames().any(|frame| frame.unwrap().header.class == Class::Refused);
    assert!(stage.out.iter().any(|(_, batch)| refused(batch)), "the edge is told, and closes the connection");
}

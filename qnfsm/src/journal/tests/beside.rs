//! Reading beside a node that writes on: what comes is read on with another look, nothing half written is taken for damage, and
//! what is gone is said.

use super::*;

fn beside(node: &Node) -> Reader {
    Reader::open_beside(Arc::new(RealFiles), &node.dir).unwrap()
}

const NONE: [u64; 0] = [];

/// The rounds that can be read from here on.
fn rounds(reader: &mut Reader) -> Vec<u64> {
    let mut rounds = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        rounds.extend(entry.record.round());
    }
    rounds
}

#[test]
fn what_is_written_meanwhile_is_read_with_another_look_over_segments_and_starts() {
    for prepared in [false, true] {
        let node = Node::new();
        let lock = NodeLock::take(&RealFiles, &node.dir).unwrap();
        let begin = |epoch, tail: Option<&Tail>| {
            let options = JournalOptions::default().segment_bytes(400).prepared(prepared);
            Journal::begin(Arc::new(RealFiles), &node.dir, info(epoch), tail, options).unwrap()
        };
        let mut reader = beside(&node);
        assert_eq!(rounds(&mut reader), NONE, "nothing was written yet");
        let mut next = 1;
        for epoch in 1..=3 {
            let tail = read(&mut Reader::open_locked(Arc::new(RealFiles), &node.dir, &lock).unwrap()).1.unwrap();
            let journal = begin(epoch, Some(&tail));
            for _ in 0..20 {
                reader.look_again().unwrap();
                assert_eq!(rounds(&mut reader), NONE, "nothing is read twice");
                journal.write(&round(next)).unwrap();
                reader.look_again().unwrap();
                assert_eq!(rounds(&mut reader), [next]);
                next += 1;
            }
            journal.write(&round(next)).unwrap();
            journal.write(&round(next + 1)).unwrap();
            journal.close();
            reader.look_again().unwrap();
            assert_eq!(rounds(&mut reader), [next, next + 1]);
            next += 2;
        }
        assert!(reader.position().segment > 5, "there were several segments");
        assert!(NodeLock::take(&RealFiles, &node.dir).is_err(), "the lock was held all the time");
    }
}

#[test]
fn half_a_record_is_waited_for_wherever_it_is_cut() {
    let node = Node::new();
    node.begin(1, None, 1 << 20).write(&round(1)).unwrap();
    let whole = {
        let longer = node.copy();
        let tail = read(&mut longer.reader()).1.unwrap();
        let end = tail.last.unwrap().bytes;
        // The same bytes as if the first journal had gone on.
        let (mut body, chain) = (Vec::new(), tail.last.unwrap().chain);
        envelope::put_record(
            &mut body,
            &round(2),
            envelope::Seed::new(IDENTITY),
            Position { segment: 1, offset: end },
            chain,
        )
        .unwrap();
        body
    };
    let before = fs::read(node.segment(1)).unwrap();
    for cut in 0..whole.len() {
        fs::write(node.segment(1), &before).unwrap();
        let mut reader = beside(&node);
        assert_eq!(rounds(&mut reader), [1]);
        fs::write(node.segment(1), [&before, &whole[..cut]].concat()).unwrap();
        reader.look_again().unwrap();
        assert_eq!(rounds(&mut reader), NONE, "cut at {cut}");
        fs::write(node.segment(1), [&before, &whole[..]].concat()).unwrap();
        reader.look_again().unwrap();
        assert_eq!(rounds(&mut reader), [2], "cut at {cut}");
    }
}

#[test]
fn a_journal_that_was_cut_before_what_was_read_or_is_another_node_s_is_an_error() {
    let node = Node::new();
    let journal = node.begin(1, None, 1 << 20);
    (1..=3).for_each(|number| _ = journal.write(&round(number)).unwrap());
    journal.close();
    let mut reader = beside(&node);
    assert_eq!(rounds(&mut reader), [1, 2, 3]);
    let bytes = fs::read(node.segment(1)).unwrap();
    fs::write(node.segment(1), &bytes[..bytes.len() - 60]).unwrap();
    assert!(matches!(reader.look_again(), Err(OpenError::Corrupt(Corruption { why: Why::EndsEarly { .. }, .. }))));
    fs::write(node.segment(1), &bytes).unwrap();
    reader.look_again().unwrap();
    assert_eq!(rounds(&mut reader), NONE);
    Manifest::new(1, NodeId(5), "program", 77).store(&RealFiles, &node.dir).unwrap();
    assert!(matches!(
        reader.look_again(),
        Err(OpenError::Corrupt(Corruption { why: Why::Foreign { identity: 1 }, .. }))
    ));
}

#[test]
fn a_segment_that_was_given_up_is_no_loss_to_who_has_read_it_and_an_error_to_who_has_not() {
    let node = Node::new();
    let journal = node.begin(1, None, 200);
    (1..=10).for_each(|number| _ = journal.write(&round(number)).unwrap());
    journal.close();
    let (mut has, mut has_not) = (beside(&node), beside(&node));
    assert_eq!(rounds(&mut has), Vec::from_iter(1..=10));
    assert!(has_not.next().unwrap().is_some());
    let tail = read(&mut node.reader()).1.unwrap();
    node.begin(2, Some(&tail), 200).write(&round(11)).unwrap();
    let oldest_segment = tail.last.unwrap().segment + 1;
    let manifest = Manifest::load(&RealFiles, &node.dir).unwrap();
    Manifest { oldest_segment, ..manifest }.store(&RealFiles, &node.dir).unwrap();
    (1..oldest_segment).for_each(|number| fs::remove_file(node.segment(number)).unwrap());
    has.look_again().unwrap();
    assert_eq!(rounds(&mut has), [11]);
    has_not.look_again().unwrap();
    assert!(matches!(has_not.next(), Err(ReadError::Corrupt(Corruption { why: Why::Missing, .. }))));
}

#[test]
fn a_segment_is_gone_to_without_what_comes_before_it() {
    let node = Node::new();
    let journal = node.begin(1, None, 200);
    (1..=20).for_each(|number| _ = journal.write(&round(number)).unwrap());
    journal.close();
    let all = read(&mut node.reader()).0;
    let last = all.last().unwrap().0.segment;
    let mut reader = node.reader();
    for segment in [last, 1, 2] {
        let header = reader.seek_segment(segment).unwrap().unwrap();
        assert_eq!(header.segment, segment);
        let from_there: Vec<_> = all.iter().filter(|(at, _)| at.segment >= segment).cloned().collect();
        assert_eq!(read(&mut reader).0, from_there);
    }
    assert!(matches!(reader.seek_segment(last + 1), Err(ReadError::Misuse(_))));
}

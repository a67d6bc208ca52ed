//! Snapshots' files: they come back, they are listed, and none that is damaged or another's is taken.

use super::{
    snapshots::{SnapshotFile, SnapshotHeader},
    *,
};

fn store(node: &Node, round: u64) {
    let about = SnapshotHeader { worker: WORKER, round, epoch: Epoch(2), identity: IDENTITY, catalogue: b"kinds" };
    snapshots::store(Arc::new(RealFiles), &node.dir, &about, b"image", b"outputs").unwrap();
}

#[test]
fn a_snapshot_comes_back_and_is_listed() {
    let node = Node::new();
    assert_eq!(snapshots::list(&RealFiles, &node.dir).unwrap(), []);
    for round in [120, 7] {
        store(&node, round);
    }
    fs::write(node.dir.join("snapshots").join("9-09.qsn"), "").unwrap();
    assert_eq!(snapshots::list(&RealFiles, &node.dir).unwrap(), [(WORKER, 7), (WORKER, 120)]);
    let snapshot = snapshots::load(&RealFiles, &node.dir, IDENTITY, WORKER, 120).unwrap();
    assert_eq!(snapshot.catalogue(), b"kinds");
    assert_eq!((snapshot.image(), snapshot.driver(), snapshot.epoch), (&b"image"[..], &b"outputs"[..], Epoch(2)));
}

#[test]
fn a_snapshot_may_come_in_pieces_and_leaves_nothing_when_it_is_given_up() {
    let node = Node::new();
    let about = SnapshotHeader { worker: WORKER, round: 3, epoch: Epoch(2), identity: IDENTITY, catalogue: b"kinds" };
    let create = || SnapshotFile::create(Arc::new(RealFiles), &node.dir, &about).unwrap();
    let names = || RealFiles.list(&node.dir.join("snapshots")).unwrap();
    let mut file = create();
    file.image(b"im").unwrap();
    assert_eq!((names(), snapshots::list(&RealFiles, &node.dir).unwrap()), (vec!["3-3.qsn.2.tmp".to_owned()], vec![]));
    drop(file);
    assert_eq!(names(), [""; 0]);
    let mut file = create();
    [&b"im"[..], b"", b"age"].into_iter().for_each(|piece| file.image(piece).unwrap());
    file.finish(b"outputs").unwrap();
    let path = snapshots::path(&node.dir, WORKER, 3);
    let in_pieces = fs::read(&path).unwrap();
    store(&node, 3);
    assert_eq!(fs::read(path).unwrap(), in_pieces);
    assert_eq!(names(), ["3-3.qsn"]);
}

#[test]
fn a_snapshot_that_is_missing_damaged_or_anothers_is_refused() {
    let node = Node::new();
    store(&node, 7);
    let load = |identity, round| match snapshots::load(&RealFiles, &node.dir, identity, WORKER, round) {
        Err(ReadError::Corrupt(corruption)) => corruption.why,
        other => panic!("{other:?}"),
    };
    assert_eq!(load(IDENTITY, 8), Why::Missing);
    assert_eq!(load(1, 7), Why::Foreign { identity: IDENTITY });
    let path = snapshots::path(&node.dir, WORKER, 7);
    fs::copy(&path, snapshots::path(&node.dir, WORKER, 9)).unwrap();
    assert!(matches!(load(IDENTITY, 9), Why::Misplaced { .. }));
    let good = fs::read(&path).unwrap();
    for offset in 0..good.len() {
        let mut bytes = good.clone();
        bytes[offset] ^= 0x04;
        fs::write(&path, &bytes).unwrap();
        load(IDENTITY, 7);
        fs::write(&path, &good[..offset]).unwrap();
        load(IDENTITY, 7);
    }
    fs::write(&path, [&good[..], b"!"].concat()).unwrap();
    load(IDENTITY, 7);
}

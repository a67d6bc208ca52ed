//! Snapshots' files: they come back, they are listed, and none that is damaged or another's is taken.

use super::{snapshots::SnapshotParts, *};

fn parts(round: u64) -> SnapshotParts<'static> {
    let (catalogue, image, driver) = (b"kinds", b"image", b"outputs");
    SnapshotParts { worker: WORKER, round, epoch: Epoch(2), identity: IDENTITY, catalogue, image, driver }
}

#[test]
fn a_snapshot_comes_back_and_is_listed() {
    let node = Node::new();
    assert_eq!(snapshots::list(&RealFiles, &node.dir).unwrap(), []);
    for round in [120, 7] {
        snapshots::store(&RealFiles, &node.dir, &parts(round)).unwrap();
    }
    fs::write(node.dir.join("snapshots").join("9-09.qsn"), "").unwrap();
    assert_eq!(snapshots::list(&RealFiles, &node.dir).unwrap(), [(WORKER, 7), (WORKER, 120)]);
    let snapshot = snapshots::load(&RealFiles, &node.dir, IDENTITY, WORKER, 120).unwrap();
    assert_eq!(snapshot.catalogue(), b"kinds");
    assert_eq!((snapshot.image(), snapshot.driver(), snapshot.epoch), (&b"image"[..], &b"outputs"[..], Epoch(2)));
}

#[test]
fn a_snapshot_that_is_missing_damaged_or_anothers_is_refused() {
    let node = Node::new();
    snapshots::store(&RealFiles, &node.dir, &parts(7)).unwrap();
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

//! Opening: what stands where a node's directory should, who holds it, and that looking changes nothing.

use std::io;

use super::*;

fn open(dir: &Path) -> Result<Reader, OpenError> {
    Reader::open(Arc::new(RealFiles), dir)
}

#[test]
fn what_is_no_nodes_directory_is_said_in_so_many_words() {
    let node = Node::bare();
    assert!(matches!(open(&node.dir.join("nowhere")), Err(OpenError::Missing(_))));
    assert!(matches!(open(&node.dir), Err(OpenError::Empty(_))));
    fs::write(node.dir.join("letter.txt"), "").unwrap();
    assert!(matches!(open(&node.dir), Err(OpenError::NotANode(_))));
    assert!(matches!(open(&node.dir.join("letter.txt")), Err(OpenError::NotANode(_))));
    fs::create_dir(node.dir.join("journal")).unwrap();
    assert!(matches!(open(&node.dir), Err(OpenError::Corrupt(Corruption { why: Why::Missing, .. }))));
    let denied = IoError::new("read", "manifest", io::ErrorKind::PermissionDenied.into());
    assert!(matches!(OpenError::from(denied), OpenError::Denied(_)));
}

#[test]
fn a_node_that_has_not_begun_its_journal_has_an_empty_one() {
    let node = Node::new();
    let (entries, tail) = read(&mut node.reader());
    let tail = tail.unwrap();
    assert_eq!((entries.len(), tail.last, tail.lost.clone()), (0, None, None));
    node.begin(1, Some(&tail), 1).write(&round(1)).unwrap();
    assert_eq!(read(&mut node.reader()).0.len(), 1);
}

#[test]
fn a_directory_that_is_held_is_in_use_and_free_afterwards() {
    let node = Node::new();
    let lock = NodeLock::take(&RealFiles, &node.dir).unwrap();
    assert!(matches!(open(&node.dir), Err(OpenError::InUse(_))));
    assert!(matches!(NodeLock::take(&RealFiles, &node.dir), Err(OpenError::InUse(_))));
    Reader::open_locked(Arc::new(RealFiles), &node.dir, &lock).unwrap();
    drop(lock);
    open(&node.dir).unwrap();
}

#[test]
fn no_node_starts_in_a_directory_that_is_being_read() {
    let node = Node::new();
    drop(NodeLock::take(&RealFiles, &node.dir).unwrap());
    let (one, other) = (open(&node.dir).unwrap(), open(&node.dir).unwrap());
    for reader in [one, other] {
        assert!(matches!(NodeLock::take(&RealFiles, &node.dir), Err(OpenError::InUse(_))));
        drop(reader);
    }
    NodeLock::take(&RealFiles, &node.dir).unwrap();
}

#[test]
fn reading_changes_nothing() {
    fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                all.extend(contents(&entry.path()));
            } else {
                all.push((entry.path(), fs::read(entry.path()).unwrap()));
            }
        }
        all.sort();
        all
    }
    let node = Node::new();
    let journal = node.begin(1, None, 100);
    every_record(|draft| {
        journal.write(draft).unwrap();
    });
    drop(journal);
    let path = node.segment(3);
    let mut bytes = fs::read(&path).unwrap();
    bytes.pop();
    fs::write(&path, bytes).unwrap();
    let before = contents(&node.dir);
    assert!(read(&mut node.reader()).1.unwrap().lost.is_some());
    assert_eq!(contents(&node.dir), before);
}

#[test]
fn a_manifest_comes_back_and_no_changed_byte_of_it_is_believed() {
    let node = Node::new();
    let mut manifest = Manifest::load(&RealFiles, &node.dir).unwrap();
    manifest.clean = true;
    manifest.reached = Position { segment: 3, offset: 4 };
    manifest.store(&RealFiles, &node.dir).unwrap();
    assert_eq!(Manifest::load(&RealFiles, &node.dir).unwrap(), manifest);
    assert!(matches!(manifest.create(&RealFiles, &node.dir), Err(JournalError::Misuse(_))));
    let good = fs::read(node.dir.join("manifest")).unwrap();
    for offset in 0..good.len() {
        let mut bytes = good.clone();
        bytes[offset] ^= 0x10;
        fs::write(node.dir.join("manifest"), &bytes).unwrap();
        assert!(matches!(Manifest::load(&RealFiles, &node.dir), Err(OpenError::Corrupt(_))), "byte {offset}");
        fs::write(node.dir.join("manifest"), &good[..offset]).unwrap();
        assert!(matches!(Manifest::load(&RealFiles, &node.dir), Err(OpenError::Corrupt(_))), "cut to {offset}");
    }
}

#[test]
fn a_manifest_older_than_the_journal_is_noticed() {
    let node = Node::new();
    drop(node.begin(2, None, 1));
    Manifest::new(IDENTITY, NodeId(5), "program", 77).store(&RealFiles, &node.dir).unwrap();
    assert!(matches!(corruption(&node).why, Why::Malformed(_)));
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new();
    let _lock = NodeLock::take(&RealFiles, &node.dir).unwrap();
    drop(node.begin(1, None, 1));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&node.segment(1)), 0o600);
    assert_eq!(mode(&node.dir.join("manifest")), 0o600);
    assert_eq!(mode(&node.dir.join("lock")), 0o600);
    assert_eq!(mode(&node.dir.join("journal")), 0o700);
}

#[test]
fn a_reader_comes_back_to_where_it_stood_wherever_it_is() {
    let node = Node::new();
    let journal = node.begin(1, None, 600);
    for number in 1..=40 {
        journal.write(&round(number)).unwrap();
    }
    drop(journal);
    let mut reader = node.reader();
    let mut stood = vec![(None, None)];
    while let Some(entry) = reader.next().unwrap() {
        let round = entry.record.round();
        stood.last_mut().unwrap().1 = round;
        stood.push((reader.bookmark(), None));
    }
    assert!(reader.position().segment > 3, "there are several segments");
    // Forwards and backwards, near and far.
    for step in [1, 7, 23, 40] {
        for number in (0..stood.len()).map(|number| number * step % stood.len()) {
            let (bookmark, round) = stood[number];
            reader.return_to(bookmark).unwrap();
            assert_eq!(reader.next().unwrap().and_then(|entry| entry.record.round()), round, "{number} by {step}");
        }
    }
}

//! Indexing tar shards, and the index that is kept.

use std::io::Cursor;

use super::*;

fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn indexed(tar: &[u8]) -> Result<Index, String> {
    let mut index = Index::default();
    index.add(Cursor::new(tar), tar.len() as u64)?;
    Ok(index)
}

#[test]
fn samples_are_found_with_their_labels_wherever_these_stand() {
    let long = format!("{}/c.jpg", "d".repeat(150)); // a GNU long name
    let tar = tar_of(&[
        ("x/a.seg.png", b"no"),
        ("x/a.jpg", b"first"),
        ("x/a.cls", b" 7\n"),
        ("x/a.json", b"{}"),
        ("b.cls", b"3"),
        ("b.JPEG", b"second"),
        (&long, b"third"),
        ("lonely.cls", b"9"),
    ]);
    let index = indexed(&tar).unwrap();
    let names: Vec<_> = (0..3).map(|i| index.names.text(i).into_owned()).collect();
    assert_eq!(names, ["x/a.jpg", "b.JPEG", &long]);
    let content = |i| &tar[index.piece(i).start as usize..index.piece(i).end as usize];
    assert_eq!((content(0), content(1), content(2)), (&b"first"[..], &b"second"[..], &b"third"[..]));
    assert_eq!((index.words.words(), index.words.of_images().len()), (&["7".to_owned(), "3".to_owned()][..], 3));
}

#[test]
fn what_is_no_whole_tar_is_told() {
    let tar = tar_of(&[("a.jpg", &[1; 5000]), ("b.jpg", &[2; 5000])]);
    let text = indexed(&tar[..6500]).unwrap_err();
    assert!(text.contains("cut off in the member b.jpg: 5000 bytes at 6144"), "{text}");
    let text = indexed(b"\x1f\x8b compressed").unwrap_err();
    assert!(text.contains("not a tar archive, or a damaged one"), "{text}");
}

#[test]
fn an_archive_of_a_tree_with_splits_is_not_taken_for_a_shard() {
    let error = indexed(&tar_of(&[("d/train/cat/1.png", b"x"), ("d/Val/cat/1.png", b"y")])).unwrap_err();
    assert!(error.contains("an archive of the folders train and Val, expected shards of one split each"), "{error}");
    let (train, test) = (tar_of(&[("1.png", b"x")]), tar_of(&[("2.png", b"y")]));
    assert!(indexed(&tar_of(&[("train.tar", &train), ("test.tar", &test)])).is_err());
    assert!(indexed(&tar_of(&[("train/1.png", b"x"), ("train/test.png", b"y"), ("trainval/2.png", b"z")])).is_ok());
}

#[test]
fn a_kept_index_is_the_same_until_a_shard_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (shard, cache) = (folder.path().join("0.tar"), folder.path().join("cache"));
    let members: Vec<_> = (0..index_cache::WORTHWHILE).map(|i| format!("{i}.png")).collect();
    let members: Vec<(&str, &[u8])> = members.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
    std::fs::write(&shard, tar_of(&members)).unwrap();
    let open = || Index::open(std::slice::from_ref(&shard), Some(&cache)).unwrap();
    let first = open();
    let kept = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    assert_eq!(Index::unpack(&index_cache::read(&kept).unwrap(), &first.shards), Some(open()));
    std::fs::write(&shard, tar_of(&members[..10])).unwrap();
    assert_eq!(open().names.len(), 10);
}

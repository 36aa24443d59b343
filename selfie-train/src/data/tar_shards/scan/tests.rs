//! Samples of archives made here, by the rules of webdataset 1.0 (`webdataset.tariterators`).

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

fn found(tar: &[u8]) -> Found {
    scan(&mut Cursor::new(tar), tar.len() as u64).unwrap()
}

/// Names and labels, and the content at each place.
fn samples(tar: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let row = |sample: Sample| {
        let content = tar[sample.bytes.start as usize..sample.bytes.end as usize].to_vec();
        (String::from_utf8(sample.path).unwrap(), sample.label.unwrap_or_default(), content)
    };
    found(tar).samples.into_iter().map(row).collect()
}

#[test]
fn members_with_hidden_names_or_folders_are_passed_over() {
    let fork: &[u8] = b"\0\x05\x16\x07\xff";
    let tar = tar_of(&[
        ("./._1.png", fork),
        ("./1.png", b"one"),
        ("./._1.cls", fork),
        ("./1.cls", b"4"),
        ("__MACOSX/2.png", fork),
        (".git/3.png", fork),
        ("a/.DS_Store", fork),
        ("a/4.png", b"four"),
    ]);
    let names: Vec<_> = samples(&tar).into_iter().map(|(name, label, _)| (name, label)).collect();
    assert_eq!(names, [("1.png".to_owned(), "4".to_owned()), ("a/4.png".to_owned(), String::new())]);
}

#[test]
fn suffixes_are_compared_in_lower_case() {
    let tar = tar_of(&[("0.JPG", b"x"), ("0.CLS", b"1"), ("1.Cls", b"2"), ("1.Png", b"y")]);
    let labels: Vec<_> = samples(&tar).into_iter().map(|(_, label, _)| label).collect();
    assert_eq!(labels, ["1", "2"]);
}

#[test]
fn minus_one_and_nothing_are_no_label() {
    let tar = tar_of(&[("0.png", b"x"), ("0.cls", b" -1\n"), ("1.png", b"x"), ("1.cls", b""), ("2.cls", b"-1")]);
    let found = found(&tar);
    assert!(found.samples.iter().all(|sample| sample.label.is_none()), "{found:?}");
    assert_eq!(found.labels_apart, 0);
}

#[test]
fn labels_apart_from_their_images_are_counted() {
    let tar = tar_of(&[("0.png", b"x"), ("1.png", b"x"), ("0.cls", b"3"), ("1.cls", b"4"), ("2.txt", b"cat")]);
    let found = found(&tar);
    assert_eq!((found.samples.len(), found.labels_apart), (2, 2));
    assert!(found.samples.iter().all(|sample| sample.label.is_none()));
}

#[test]
fn archives_in_an_archive_are_classes() {
    let (cat, dog) = (tar_of(&[("n01_1.JPEG", b"cat")]), tar_of(&[("n02_1.JPEG", b"dog"), ("n02_2.JPEG", b"dogs")]));
    let row = |name: &str, label: &str, content: &[u8]| (name.to_owned(), label.to_owned(), content.to_vec());
    assert_eq!(
        samples(&tar_of(&[("n01.tar", &cat), ("x.png", b"alone"), ("n02.tar", &dog)])),
        [
            row("n01.tar/n01_1.JPEG", "n01", b"cat"),
            row("x.png", "", b"alone"),
            row("n02.tar/n02_1.JPEG", "n02", b"dog"),
            row("n02.tar/n02_2.JPEG", "n02", b"dogs"),
        ]
    );
    // One is no class, and labels of its own come before its name.
    assert_eq!(samples(&tar_of(&[("n01.tar", &cat)])), [row("n01.tar/n01_1.JPEG", "", b"cat")]);
    let labeled = tar_of(&[("1.png", b"x"), ("1.cls", b"9")]);
    let labels: Vec<_> = samples(&tar_of(&[("a.tar", &labeled), ("b.tar", &cat)])).into_iter().map(|s| s.1).collect();
    assert_eq!(labels, ["9", ""]);
}

#[test]
fn archives_that_are_not_read_are_named() {
    let inner = tar_of(&[("a.tar", &tar_of(&[("1.png", b"x")]))]);
    assert_eq!(found(&tar_of(&[("b.tar", &inner)])).unread.as_deref(), Some("b.tar/a.tar"));
    assert_eq!(found(&tar_of(&[("b.TGZ", b"x")])).unread.as_deref(), Some("b.TGZ"));
    let damaged = scan(&mut Cursor::new(tar_of(&[("b.tar", &[7; 600])])), 2048).unwrap_err();
    assert!(damaged.starts_with("in b.tar: not a tar archive, or a damaged one"), "{damaged}");
}

#[test]
fn messages_hold_no_control_characters() {
    let mut noise: Vec<u8> = (0..2048u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&b"\x1f\x8b\x08\0\x1b[31m compressed"[..], &noise] {
        let text = scan(&mut Cursor::new(bytes), bytes.len() as u64).unwrap_err();
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    noise = tar_of(&[("a\x1b[31m.jpg", &[1; 5000])]);
    let text = scan(&mut Cursor::new(&noise[..2500]), 2500).unwrap_err();
    assert!(text.contains("cut off in the member a\\u{1b}[31m.jpg: 5000 bytes at 512"), "{text}");
}

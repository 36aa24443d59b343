//! Listing a folder, and the index that spares it.

use super::*;

fn touch(root: &Path, names: &[&str]) {
    for name in names {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
}

/// As if the folders below had been left alone for an hour.
fn age(root: &Path) {
    for entry in WalkDir::new(root).into_iter().flatten().filter(|entry| entry.file_type().is_dir()) {
        let earlier = SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::open(entry.path()).unwrap().set_modified(earlier).unwrap();
    }
}

fn listed(tree: &Tree) -> Vec<String> {
    (0..tree.files.total()).map(|i| tree.path(i).display().to_string()).collect()
}

#[test]
fn a_folders_own_files_come_before_those_of_the_folders_in_it() {
    let root = tempfile::tempdir().unwrap();
    touch(
        root.path(),
        &["b/2.png", "b/a/3.png", "b/1.JPG", "z.png", "a.b/4.png", "a/5.png", ".hidden/6.png", "b/notes.txt"],
    );
    let tree = Tree::scan(root.path()).unwrap();
    assert_eq!(listed(&tree), ["z.png", "a/5.png", "a.b/4.png", "b/1.JPG", "b/2.png", "b/a/3.png"]);
    assert_eq!(tree.files_in(tree.below(Path::new("b"))), 3..6);
    assert_eq!(tree.files_in(tree.below(Path::new("a"))), 1..2);
    assert_eq!(tree.files_in(tree.below(Path::new("c"))), 0..0);
    assert_eq!(tree.files_in(tree.below(Path::new(""))), 0..6);
}

#[test]
fn an_index_is_taken_until_a_folder_changes() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let names: Vec<String> = (0..index_cache::WORTHWHILE).map(|i| format!("{}/{i}.png", i % 7)).collect();
    touch(root.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    age(root.path());
    let open = || Tree::open_cached(root.path(), Some(cache.path())).unwrap();
    let first = open();
    let file = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    assert_eq!(open(), first);

    // What the index says is believed, so it is read indeed.
    let altered = first.pack(&root.path().canonicalize().unwrap());
    let at = altered.windows(5).position(|w| w == b"0.png").unwrap();
    let mut altered = altered;
    altered[at] = b'x';
    index_cache::write(&file, &altered);
    assert_ne!(open(), first);

    // A file more, a file less, a folder more: each is noticed.
    touch(root.path(), &["3/new.png"]);
    assert_eq!(open().names.len(), first.names.len() + 1);
    age(root.path());
    open();
    std::fs::remove_file(root.path().join("3/new.png")).unwrap();
    assert_eq!(listed(&open()), listed(&first));
    age(root.path());
    open();
    touch(root.path(), &["9/new.png"]);
    assert_eq!(open().names.len(), first.names.len() + 1);
}

#[test]
fn a_folder_that_has_just_changed_is_not_kept() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let names: Vec<String> = (0..index_cache::WORTHWHILE).map(|i| format!("{i}.png")).collect();
    touch(root.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    Tree::open_cached(root.path(), Some(cache.path())).unwrap();
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn bad_links_and_special_files_never_refuse_a_folder() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    touch(root.path(), &["a/1.png", "b.png/2.png", "lost+found/3.png"]);
    let at = |name: &str| root.path().join(name);
    symlink("y.png", at("a/x.png")).unwrap(); // in a circle
    symlink("x.png", at("a/y.png")).unwrap();
    symlink("circle", at("a/circle")).unwrap();
    symlink("nowhere", at("a/dangling")).unwrap();
    symlink("nowhere", at("a/dangling.png")).unwrap();
    symlink("1.png/below", at("a/through-a-file.png")).unwrap();
    symlink("..", at("a/above")).unwrap();
    symlink("n".repeat(300), at("a/too-long")).unwrap();
    symlink("/dev/zero", at("a/zero.png")).unwrap();
    symlink("/dev/zero", at("a/zero")).unwrap();
    let made = std::process::Command::new("mkfifo").args([at("a/pipe.png"), at("a/pipe")]).status();
    assert!(made.unwrap().success());
    let tree = Tree::scan(root.path()).unwrap();
    let special = ["dangling", "pipe", "through-a-file", "x", "y", "zero"].map(|name| format!("a/{name}.png"));
    let expected: Vec<_> =
        ["a/1.png".to_owned()].into_iter().chain(special).chain(["b.png/2.png".to_owned()]).collect();
    assert_eq!(listed(&tree), expected);
}

#[test]
fn every_suffix_of_a_readable_format_is_listed_in_any_case() {
    let root = tempfile::tempdir().unwrap();
    let known = ["BMP", "gif", "jfif", "Jpe", "jpeg", "JPG", "png", "tif", "TIFF", "webp"];
    let names: Vec<_> =
        known.iter().chain(&["heic", "avif", "svg", "jpg~", "jpgx"]).map(|s| format!("a.{s}")).collect();
    touch(root.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut expected: Vec<_> = known.iter().map(|suffix| format!("a.{suffix}")).collect();
    expected.sort();
    assert_eq!(listed(&Tree::scan(root.path()).unwrap()), expected);
}

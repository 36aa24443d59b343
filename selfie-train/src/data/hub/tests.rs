//! The hub against a server on this machine: listing, download, broken connections, refusals, wrong sizes, no network.

#[path = "tests/server.rs"]
mod server;
#[path = "tests/upload.rs"]
mod upload;

use super::*;
use server::Server;

fn hub(server: &Server, cache: &Path) -> Hub {
    Hub {
        endpoint: server.endpoint(),
        cache: Cache::new(cache.join("hub")),
        token: Some("secret".to_owned()),
        offline: false,
        repo_type: RepoType::Dataset,
        pause: Duration::ZERO,
        chosen: Default::default(),
    }
}

fn name(text: &str) -> RepoName {
    text.parse().unwrap()
}

/// Bytes that differ from place to place.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

#[test]
fn a_data_set_is_fetched_once_and_then_used_without_a_network() {
    let cache = tempfile::tempdir().unwrap();
    let (train, test) = (content(70_000), content(5_000));
    let files = [
        ("data/train-0.parquet", train.clone()),
        ("data/validation-0.parquet", test.clone()),
        ("data/test-0.parquet", content(9)), // not the split that is tested on
        ("README.md", content(10)),
        ("../evil.parquet", content(11)),
    ];
    let server = Server::start(&files);
    let mut hub = hub(&server, cache.path());
    let snapshot = hub.snapshot(&name("o/n")).unwrap();
    let read: Vec<_> = snapshot.files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert_eq!((read, snapshot.bytes), (vec![train, test], 75_000));
    assert!(server.log().iter().all(|request| request.authorization == "Bearer secret"));

    let asked = server.log().len();
    assert_eq!(hub.snapshot(&name("o/n")).unwrap(), snapshot); // from the cache
    assert_eq!(server.log().len(), asked);
    hub.fetch(&name("o/n")).unwrap(); // asked for anew: listed, but nothing is downloaded
    assert_eq!(server.log().len(), asked + 1);

    drop(server);
    hub.offline = true;
    assert_eq!(hub.snapshot(&name("o/n")).unwrap(), snapshot);
    let text = hub.snapshot(&name("o/other")).unwrap_err().to_string();
    assert!(text.contains("hf:o/other") && text.contains("HF_HUB_OFFLINE"), "{text}");
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let cache = tempfile::tempdir().unwrap();
    let bytes = content(300_000);
    let server = Server::start(&[("train.parquet", bytes.clone())]);
    server.break_after(&[100_000, 120_000]);
    let snapshot = hub(&server, cache.path()).snapshot(&name("o/n")).unwrap();
    assert_eq!(std::fs::read(&snapshot.files[0]).unwrap(), bytes);
    let starts: Vec<_> = server.log().iter().filter_map(|request| request.from).collect();
    assert_eq!(starts, [0, 100_000, 220_000]);
}

#[test]
fn a_program_that_was_killed_goes_on_too() {
    let cache = tempfile::tempdir().unwrap();
    let bytes = content(300_000);
    let server = Server::start(&[("train.parquet", bytes.clone())]);
    server.break_after(&[50_000, 0, 0, 0, 0, 0]);
    let hub = hub(&server, cache.path());
    let text = hub.snapshot(&name("o/n")).unwrap_err().to_string();
    assert!(text.contains("train.parquet") && text.contains("given up at byte 50000 of 300000"), "{text}");
    let before = server.log().len();
    let snapshot = hub.snapshot(&name("o/n")).unwrap();
    assert_eq!(std::fs::read(&snapshot.files[0]).unwrap(), bytes);
    assert_eq!(server.log()[before..].iter().filter_map(|request| request.from).collect::<Vec<_>>(), [50_000]);
}

#[test]
fn a_finished_part_of_a_killed_program_is_taken_anew() {
    let cache = tempfile::tempdir().unwrap();
    let bytes = content(3_000);
    let server = Server::start(&[("train.parquet", bytes.clone())]);
    for left in [3_000, 4_000] {
        let hub = hub(&server, &cache.path().join(left.to_string()));
        let blobs = hub.cache_of(&name("o/n"), "main").blob_path("x");
        std::fs::create_dir_all(blobs.parent().unwrap()).unwrap();
        std::fs::write(blobs.with_file_name("etag-train.part"), vec![1; left]).unwrap();
        let snapshot = hub.snapshot(&name("o/n")).unwrap();
        assert_eq!(std::fs::read(&snapshot.files[0]).unwrap(), bytes);
    }
}

#[test]
fn the_token_stays_at_the_endpoint_when_a_file_is_somewhere_else() {
    let bytes = content(200_000);
    let (hub_server, store) =
        (Server::start(&[("train.parquet", bytes.clone())]), Server::start(&[("train.parquet", bytes.clone())]));
    store.break_after(&[80_000]);
    // Another port, and another name of the same machine.
    for other in [store.endpoint(), store.endpoint().replace("127.0.0.1", "localhost")] {
        let cache = tempfile::tempdir().unwrap();
        hub_server.redirect(&other);
        let snapshot = hub(&hub_server, cache.path()).snapshot(&name("o/n")).unwrap();
        assert_eq!(std::fs::read(&snapshot.files[0]).unwrap(), bytes);
    }
    assert!(hub_server.log().iter().all(|request| request.authorization == "Bearer secret"));
    assert!(store.log().len() > 4 && store.log().iter().all(|request| request.authorization.is_empty()));
    // A redirect within the endpoint keeps it.
    let cache = tempfile::tempdir().unwrap();
    let own = Server::start(&[("train.parquet", bytes.clone())]);
    own.redirect("/moved");
    let snapshot = hub(&own, cache.path()).snapshot(&name("o/n")).unwrap();
    assert_eq!(std::fs::read(&snapshot.files[0]).unwrap(), bytes);
    let cache = tempfile::tempdir().unwrap();
    own.redirect(""); // to its own path, without end
    let text = hub(&own, cache.path()).snapshot(&name("o/n")).unwrap_err().to_string();
    assert!(text.contains("more than 10 redirects"), "{text}");
    assert!(own.log().iter().all(|request| request.authorization == "Bearer secret"));
}

#[test]
fn a_server_that_knows_no_ranges_sends_the_whole_file_once_more() {
    let cache = tempfile::tempdir().unwrap();
    let bytes = content(300_000);
    let server = Server::start(&[("train.parquet", bytes.clone())]);
    server.break_after(&[50_000, 0, 0, 0, 0, 0]);
    let hub = hub(&server, cache.path());
    hub.snapshot(&name("o/n")).unwrap_err(); // leaves a part
    server.send_whole();
    let snapshot = hub.snapshot(&name("o/n")).unwrap();
    assert_eq!(std::fs::read(&snapshot.files[0]).unwrap(), bytes);
}

#[test]
fn refusals_say_what_they_mean() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[("train.parquet", content(10))]);
    let hub = hub(&server, cache.path());
    for (status, words) in [(401, "HF_TOKEN"), (403, "terms"), (404, "no such repository")] {
        server.refuse(Some(status));
        let error = hub.snapshot(&name("o/n")).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, DataError::HubRefused { .. }), "{text}");
        assert!(text.contains("hf:o/n") && text.contains(&status.to_string()) && text.contains(words), "{text}");
    }
    server.refuse(Some(500));
    assert!(matches!(hub.snapshot(&name("o/n")), Err(DataError::Hub { .. })));
}

#[test]
fn a_file_of_another_size_than_listed_is_refused_and_not_kept() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[("train.parquet", content(1_000))]);
    let hub = hub(&server, cache.path());
    server.list_as("train.parquet", 1_234);
    for _ in 0..2 {
        let text = hub.snapshot(&name("o/n")).unwrap_err().to_string();
        assert!(text.contains("train.parquet: 1000 bytes, expected 1234 as listed"), "{text}");
    }
    server.list_as("train.parquet", 1_000);
    assert_eq!(hub.snapshot(&name("o/n")).unwrap().bytes, 1_000);
}

#[test]
fn a_folder_and_the_converted_form_can_be_meant() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[("a/train.tar", content(20)), ("b/train.tar", content(30))]);
    let hub = hub(&server, cache.path());
    assert_eq!(hub.snapshot(&name("o/n/b")).unwrap().bytes, 30);
    assert_eq!(hub.snapshot(&name("o/n")).unwrap().bytes, 50);

    let server = Server::start(&[("data.csv", content(20))]);
    server.convert("default/train/0000.parquet", content(40));
    let hub = Hub { endpoint: server.endpoint(), ..hub };
    assert_eq!(hub.snapshot(&name("o/table")).unwrap().bytes, 40);
}

#[test]
fn a_data_set_without_images_is_told_so() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[("notes.txt", content(20))]);
    let text = hub(&server, cache.path()).snapshot(&name("o/n")).unwrap_err().to_string();
    assert!(text.contains("no parquet, tar or image file"), "{text}");
}

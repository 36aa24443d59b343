//! Uploads against the server on this machine, and their way back.

use super::*;

fn hub(server: &Server, cache: &Path) -> Hub {
    Hub {
        endpoint: format!("{}/", server.endpoint()),
        cache: Cache::new(cache.join("hub")),
        token: Some("secret".to_owned()),
        offline: false,
        repo_type: RepoType::Model,
        pause: Duration::ZERO,
        chosen: Default::default(),
    }
}

/// A folder with weights of `bytes` bytes and a card, as files to upload.
fn files(folder: &Path, bytes: usize) -> Vec<HubFile> {
    let weights: Vec<u8> = (0..bytes).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    std::fs::write(folder.join("model.safetensors"), weights).unwrap();
    std::fs::write(folder.join("README.md"), "# A model\n").unwrap();
    let file = |name: &str| HubFile { name: name.to_owned(), path: folder.join(name) };
    vec![file("model.safetensors"), file("README.md")]
}

#[test]
fn what_goes_up_comes_down_again() {
    for part in [None, Some(30_000)] {
        let folder = tempfile::tempdir().unwrap();
        let (server, files) = (Server::start(&[]), files(folder.path(), 100_000));
        if let Some(bytes) = part {
            server.take_parts(bytes);
        }
        let upload = HubUpload::with(hub(&server, folder.path()), "o/n").unwrap();
        assert_eq!(upload.send(&files, "Weights").unwrap(), format!("{}/o/n", server.endpoint()));
        for file in &files {
            assert!(server.file(&file.name) == Some(std::fs::read(&file.path).unwrap()), "{}", file.name);
        }
        let weights = hub(&server, folder.path()).weights(&"o/n".parse().unwrap()).unwrap();
        assert!(std::fs::read(weights).unwrap() == std::fs::read(&files[0].path).unwrap());
    }
}

#[test]
fn the_token_is_not_sent_to_another_host_that_the_hub_names() {
    let folder = tempfile::tempdir().unwrap();
    let (server, other) = (Server::start(&[]), Server::start(&[]));
    server.verify_at(&other.endpoint());
    other.refuse(Some(200)); // an empty answer, which is a good one
    let upload = HubUpload::with(hub(&server, folder.path()), "o/n").unwrap();
    upload.send(&files(folder.path(), 1_000), "Weights").unwrap();
    assert_eq!(other.log().len(), 1);
    assert!(other.log()[0].line.contains("/verify/") && other.log()[0].authorization.is_empty(), "{:?}", other.log());
}

#[test]
fn a_second_upload_finds_the_repository_and_the_large_file_there() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut files) = (Server::start(&[]), files(folder.path(), 1_000));
    let upload = HubUpload::with(hub(&server, folder.path()), "o/n").unwrap();
    upload.send(&files, "first").unwrap();
    std::fs::write(&files[1].path, "# Another card\n").unwrap();
    let before = server.log().len();
    upload.send(&files, "second").unwrap();
    assert!(!server.log()[before..].iter().any(|request| request.line.starts_with("PUT")));
    assert_eq!(server.file("README.md").unwrap(), b"# Another card\n");
    files.truncate(1);
    std::fs::remove_file(&files[0].path).unwrap();
    assert!(matches!(upload.send(&files, "third"), Err(DataError::Io { .. })));
}

#[test]
fn a_token_for_this_repository_alone_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let (server, files) = (Server::start(&[("README.md", b"# Mine\n".to_vec())]), files(folder.path(), 10));
    server.close();
    HubUpload::with(hub(&server, folder.path()), "o/n").unwrap().send(&files, "Weights").unwrap();
    assert!(server.file("model.safetensors").is_some());
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    let upload = HubUpload::with(hub(&server, folder.path()), "o/n").unwrap();
    upload.send(&files(folder.path(), 10), "Weights").unwrap();
    for request in server.log() {
        let expected = if request.line.starts_with("PUT") { "" } else { "Bearer secret" };
        assert_eq!(request.authorization, expected, "{}", request.line);
    }
}

#[test]
fn without_a_token_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    let hub =
        |token: Option<&str>, offline| Hub { token: token.map(str::to_owned), offline, ..hub(&server, folder.path()) };
    for (hub, words) in [(hub(None, false), "HF_TOKEN"), (hub(Some("secret"), true), "HF_HUB_OFFLINE")] {
        let error = HubUpload::with(hub, "o/n").err().unwrap();
        assert!(matches!(error, DataError::HubRefused { .. }) && error.to_string().contains(words), "{error}");
    }
    let error = HubUpload::with(hub(Some("secret"), false), "o/n@v1").err().unwrap().to_string();
    assert!(error.contains("hf:o/n@v1"), "{error}");
    assert!(server.log().is_empty());
}

#[test]
fn refusals_say_what_was_being_done() {
    let folder = tempfile::tempdir().unwrap();
    let (server, files) = (Server::start(&[]), files(folder.path(), 10));
    let upload = HubUpload::with(hub(&server, folder.path()), "o/n").unwrap();
    for (status, words) in [(401, "token is not valid"), (403, "may not write"), (404, "no such owner")] {
        server.refuse(Some(status));
        let error = upload.send(&files, "Weights").unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, DataError::HubRefused { .. }), "{text}");
        assert!(text.contains("hf:o/n") && text.contains("making the repository") && text.contains(words), "{text}");
    }
    server.refuse(Some(500));
    assert!(matches!(upload.send(&files, "Weights"), Err(DataError::Hub { .. })));
}

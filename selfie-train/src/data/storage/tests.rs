//! Errors of the system against errors of a file; what is not a regular file.

use super::*;

/// Fails `times` times with the error of the system's number `code`, then returns `7`; counts the pauses.
#[cfg(unix)]
fn failing(code: i32, times: usize) -> (Result<u8, Fault>, Vec<Duration>) {
    let (mut left, mut pauses) = (times, Vec::new());
    let read = || match left.checked_sub(1) {
        Some(fewer) => {
            left = fewer;
            Err(io::Error::from_raw_os_error(code))
        }
        None => Ok(7),
    };
    (retried(read, |pause| pauses.push(pause)), pauses)
}

#[cfg(unix)]
#[test]
fn an_error_of_the_system_is_tried_again_and_then_ends_with_the_path() {
    use libc::{EAGAIN, EBUSY, EINTR, EIO, EMFILE, ENFILE, ENOLINK, ENOMEM, ENOTCONN, ESTALE, ETIMEDOUT};
    for code in [EMFILE, ENFILE, EIO, ESTALE, EINTR, ENOMEM, EAGAIN, ETIMEDOUT, ENOTCONN, EBUSY, ENOLINK] {
        for times in 0..=PAUSES.len() {
            let (result, pauses) = failing(code, times);
            assert_eq!((result.ok(), pauses.len()), (Some(7), times), "error {code}");
            assert!(pauses.is_sorted());
        }
        let (result, pauses) = failing(code, PAUSES.len() + 1);
        assert_eq!(pauses.len(), PAUSES.len());
        let error = result.unwrap_err().of_image("d/x.jpg");
        assert!(matches!(error, DataError::Storage { .. }), "error {code}: {error}");
        assert!(error.to_string().contains("d/x.jpg"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn an_error_of_the_file_is_the_images_at_once() {
    use libc::{EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO, EPERM};
    for code in [EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO, EPERM] {
        let (result, pauses) = failing(code, 1);
        let error = result.unwrap_err().of_image("d/x.jpg");
        assert!(pauses.is_empty() && matches!(error, DataError::Image { .. }), "error {code}: {error}");
    }
}

fn reason(path: &Path) -> String {
    match read_image(path) {
        Err(DataError::Image { reason, .. }) => reason,
        other => panic!("{}: {:?}", path.display(), other.map(|bytes| bytes.len())),
    }
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_read() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("real.jpg"), b"bytes").unwrap();
    symlink("real.jpg", at("link.jpg")).unwrap();
    assert_eq!(read_image(&at("link.jpg")).unwrap(), b"bytes");

    let made = std::process::Command::new("mkfifo").arg(at("pipe.jpg")).status();
    assert!(made.unwrap().success());
    symlink("pipe.jpg", at("to-pipe.jpg")).unwrap();
    symlink("/dev/zero", at("zero.jpg")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.jpg")).unwrap();
    std::fs::create_dir(at("folder.jpg")).unwrap();
    symlink("b.jpg", at("a.jpg")).unwrap();
    symlink("a.jpg", at("b.jpg")).unwrap();
    symlink("nowhere", at("dangling.jpg")).unwrap();
    for name in ["pipe.jpg", "to-pipe.jpg", "zero.jpg"] {
        assert_eq!(reason(&at(name)), "it is a pipe, device or socket, expected a regular file", "{name}");
        let text = String::from(read_range(&at(name), 0..4).unwrap_err());
        assert!(text.contains("expected a regular file"), "{name}: {text}");
    }
    assert!(reason(&at("folder.jpg")).contains("a folder, expected a regular file"));
    for name in ["socket.jpg", "a.jpg", "dangling.jpg", "real.jpg/below.jpg", "nul\0.jpg"] {
        assert!(!reason(&at(name)).is_empty(), "{name}");
    }
}

#[test]
fn a_file_that_no_image_fills_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.jpg");
    File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
    assert!(reason(&path).contains("1073741825 bytes, expected at most 1073741824"));
    File::create(&path).unwrap().set_len(LARGE_FILE + 1).unwrap();
    assert!(reason(&path).contains("does not begin like an image"));
}

/// In a process of its own: the limit of open files is the process's.
#[cfg(target_os = "linux")]
#[test]
fn too_many_open_files_end_the_run_instead_of_being_an_image_s_fault() {
    const CHILD: &str = "SELFIE_TEST_OPEN_FILES";
    let name = "data::storage::tests::too_many_open_files_end_the_run_instead_of_being_an_image_s_fault";
    if let Some(path) = std::env::var_os(CHILD) {
        let held: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        let fault = retried(|| read_whole(Path::new(&path)), |_| {}).unwrap_err();
        drop(held);
        assert!(matches!(fault.of_image(&path), DataError::Storage { .. }));
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let limited = format!("ulimit -n 64; exec \"$0\" --exact {name} --test-threads 1");
    let output = std::process::Command::new("sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, file.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

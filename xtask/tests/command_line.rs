//! What a user of `cargo xtask` meets: the page, one-line errors, exit status. Nothing is built here.

use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().expect("xtask starts")
}

/// Asserts exit status 2, one line on stderr with `words`, and nothing on stdout.
fn refuses(arguments: &[&str], words: &[&str]) {
    let output = xtask(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), message.lines().count()), (Some(2), 1), "{message}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
}

#[test]
fn help_lists_both_groups() {
    for arguments in [["--help"], ["help"]] {
        let output = xtask(&arguments);
        let page = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success());
        for name in ["pretrain-imagenet", "linear-eval", "bench", "tidy", "golden"] {
            assert!(page.contains(&format!("\n  {name} ")), "no {name} in: {page}");
        }
    }
}

#[test]
fn no_command_shows_the_page_and_fails() {
    let output = xtask(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("pretrain-imagenet"));
}

#[test]
fn an_unknown_command_is_refused_with_the_nearest() {
    refuses(&["pretrain-imagnet", "--help"], &["'pretrain-imagnet'", "'pretrain-imagenet'"]);
    refuses(&["--quick"], &["--quick"]);
}

#[test]
fn options_of_developers_are_checked() {
    refuses(&["tidy", "--fix"], &["--fix"]);
    refuses(&["golden", "los.py"], &["los.py", "loss.py"]);
}

#[test]
#[cfg(not(target_os = "macos"))]
fn metal_is_refused_before_a_build() {
    refuses(&["pretrain", "--device=metal"], &["--device metal", "macOS"]);
}

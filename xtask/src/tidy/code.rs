//! Words that have no place in certain code.

use super::source::{Source, has_word};
use super::{Finding, LIBRARY_CRATES};

/// Where `unsafe` may stand: kernels, optimiser passes, communication. Each is a file name or a folder.
const UNSAFE_MODULES: &[&str] = &["selfie-encoder/src/ops", "selfie-train/src/optim", "selfie-train/src/ranks"];

/// Nothing is left to be written, and no print of a debugging hour remains.
pub fn no_unfinished_code(source: &Source) -> Vec<Finding> {
    found(source, |_| source.is_in_src(), &["todo!", "unimplemented!", "dbg!"], "write it or take it out")
}

/// A library says what it has to say by its results and through tracing.
pub fn libraries_do_not_print(source: &Source) -> Vec<Finding> {
    let applies = source.is_in_src() && source.is_of(LIBRARY_CRATES);
    let words = ["println!", "print!", "eprintln!", "eprint!"];
    found(source, |test| applies && !test, &words, "return it, or use tracing: a library does not print")
}

/// No panic reaches a user.
pub fn no_unwrap(source: &Source) -> Vec<Finding> {
    let words = [".unwrap()", ".expect("];
    found(source, |test| source.is_in_src() && !test, &words, "return an error that names file, field or tensor")
}

/// Whoever reviews memory safety has few places to look at.
pub fn unsafe_stays_in_its_modules(source: &Source) -> Vec<Finding> {
    let module = source.path.strip_suffix(".rs").unwrap_or(&source.path);
    let allowed = UNSAFE_MODULES
        .iter()
        .any(|allowed| module.strip_prefix(allowed).is_some_and(|tail| tail.is_empty() || tail.starts_with('/')));
    let advice = format!("keep it in {}", UNSAFE_MODULES.join(", "));
    found(source, |_| !allowed, &["unsafe"], &advice)
}

/// The lines of code with one of `words`, where `applies` says so of test code or of other code.
fn found(source: &Source, applies: impl Fn(bool) -> bool, words: &[&str], advice: &str) -> Vec<Finding> {
    let lines = source.lines().filter(|line| applies(line.test));
    let hits = lines.filter_map(|line| Some((line.number, words.iter().find(|word| has_word(line.code, word))?)));
    hits.filter_map(|(number, word)| source.finding(number, format!("{word}, {advice}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(check: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    #[test]
    fn unfinished_code_is_found_also_in_tests_of_the_file() {
        assert_eq!(count(no_unfinished_code, "xtask/src/a.rs", "fn a() {\n  todo!()\n}\ndbg!(1);"), 2);
        assert_eq!(count(no_unfinished_code, "xtask/src/a.rs", "// todo!\nlet x = \"dbg!\";"), 0);
    }

    #[test]
    fn only_libraries_must_not_print() {
        assert_eq!(count(libraries_do_not_print, "selfie-loss/src/a.rs", "println!();"), 1);
        assert_eq!(count(libraries_do_not_print, "selfie-eval/src/a.rs", "println!();"), 0);
        assert_eq!(count(libraries_do_not_print, "selfie-loss/src/a.rs", "writeln!(f);"), 0);
    }

    #[test]
    fn unwrap_is_for_tests() {
        let text = "a.unwrap();\nb\n  .expect(\"x\");\n#[expect(dead_code)]\n#[cfg(test)]\nmod tests { a.unwrap() }\n";
        assert_eq!(count(no_unwrap, "a/src/a.rs", text), 2);
        assert_eq!(count(no_unwrap, "a/src/b/tests.rs", text), 0);
        assert_eq!(count(no_unwrap, "a/tests/b.rs", text), 0);
    }

    #[test]
    fn unsafe_has_three_homes() {
        let text = "unsafe { x() }";
        assert_eq!(count(unsafe_stays_in_its_modules, "selfie-encoder/src/ops/conv.rs", text), 0);
        assert_eq!(count(unsafe_stays_in_its_modules, "selfie-train/src/ranks.rs", text), 0);
        assert_eq!(count(unsafe_stays_in_its_modules, "selfie-encoder/src/opsx.rs", text), 1);
        assert_eq!(count(unsafe_stays_in_its_modules, "selfie-loss/src/lib.rs", text), 1);
    }
}

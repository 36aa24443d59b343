//! A Rust file line by line, with comments and the contents of literals taken away, and test code marked.
//!
//! Not a parser: a walk over the text that knows comments (nested too), strings, raw strings, characters and
//! lifetimes. That is enough for checks that look for words.

use super::Finding;

/// One Rust file.
pub struct Source {
    /// From the root of the project, with `/`.
    pub path: String,
    text: String,
    code: String,
    test_lines: Vec<bool>,
}

/// One line, counted from 1.
pub struct Line<'a> {
    pub number: usize,
    /// As it stands in the file.
    pub text: &'a str,
    /// Without comments; literals are empty.
    pub code: &'a str,
    /// Part of the tests.
    pub test: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = without_comments_and_literals(text);
        let mut test_lines = test_lines(&code);
        let folders: Vec<&str> = path.split('/').collect();
        if folders.iter().any(|name| ["tests", "benches", "tests.rs"].contains(name)) {
            test_lines.fill(true);
        }
        Self { path: path.to_owned(), text: text.to_owned(), code, test_lines }
    }

    /// Whether the file is part of a library or program, not of tests or examples.
    pub fn is_in_src(&self) -> bool {
        self.path.split('/').any(|folder| folder == "src")
    }

    /// Whether the file belongs to one of these crates.
    pub fn is_of(&self, crates: &[&str]) -> bool {
        crates.iter().any(|name| self.path.strip_prefix(name).is_some_and(|tail| tail.starts_with('/')))
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole file without comments and contents of literals; its lines are the file's lines.
    pub fn code(&self) -> &str {
        &self.code
    }

    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let both = self.text.lines().zip(self.code.lines()).zip(&self.test_lines);
        both.enumerate().map(|(i, ((text, code), &test))| Line { number: i + 1, text, code, test })
    }

    /// A finding, unless the line or the one before it gives a reason.
    pub fn finding(&self, line: usize, what: impl Into<String>) -> Option<Finding> {
        let mut around = self.text.lines().skip(line.saturating_sub(2)).take(if line > 1 { 2 } else { 1 });
        let excused = around.any(|text| text.contains("// tidy: "));
        (!excused).then(|| Finding::new(&self.path, line, what))
    }
}

/// Whether `code` holds `word` with no letter, digit or underscore beside it.
pub fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let joins_left = word.starts_with(is_part) && code[..at].ends_with(is_part);
        let joins_right = word.ends_with(is_part) && code[at + word.len()..].starts_with(is_part);
        !joins_left && !joins_right
    })
}

/// Where the item at the start of `code` ends: after its `;`, or after the brace that closes its first one.
pub fn item_length(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth <= 0 && (c == '}' || c == ';') {
            return at + 1;
        }
    }
    code.len()
}

fn test_lines(code: &str) -> Vec<bool> {
    let mut lines = vec![false; code.lines().count()];
    for attribute in ["#[cfg(test)]", "#[test]"] {
        for (at, _) in code.match_indices(attribute) {
            let first = code[..at].matches('\n').count();
            let last = first + code[at..at + item_length(&code[at..])].matches('\n').count();
            lines[first..=last].fill(true);
        }
    }
    lines
}

fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (length, is_literal) = if let Some(length) = comment(rest) {
            (length, false)
        } else if let Some(length) = raw_string(rest, word).or_else(|| string(rest)).or_else(|| character(rest)) {
            (length, true)
        } else {
            let length = word.max(c.len_utf8());
            code.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        };
        let quote = if is_literal { "\"" } else { "" };
        code.push_str(quote);
        code.extend(rest[..length].chars().filter(|&c| c == '\n'));
        code.push_str(quote);
        rest = &rest[length..];
    }
    code
}

/// The length of the comment that `rest` begins with; each of these functions is of that kind.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(rest.len())
}

fn raw_string(rest: &str, word: usize) -> Option<usize> {
    let body = ["r", "br", "cr"].contains(&&rest[..word]).then(|| &rest[word..])?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let content = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = content.find(&end).map_or(content.len(), |at| at + end.len());
    Some(word + hashes + 1 + length)
}

fn string(rest: &str) -> Option<usize> {
    rest.strip_prefix('"')?;
    Some(closing(rest, '"'))
}

fn character(rest: &str) -> Option<usize> {
    let mut inside = rest.strip_prefix('\'')?.chars();
    let (first, second) = (inside.next()?, inside.next()?);
    // Else it is a lifetime.
    (first == '\\' || second == '\'').then(|| closing(rest, '\''))
}

/// Where the literal that opens with `quote` ends; a backslash hides the next character.
fn closing(literal: &str, quote: char) -> usize {
    let mut characters = literal.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote {
            return at + 1;
        }
    }
    literal.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_taken_away() {
        let pairs = [
            ("a // b", "a "),
            ("a /* b /* c */ d */ e", "a  e"),
            (r#"f("x \" // y", 1)"#, r#"f("", 1)"#),
            (r##"g(r#"a "b" c"#)"##, r#"g("")"#),
            (r"m('\'', '{', b'x') ", r#"m("", "", b"") "#),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("bar\"x\"", "bar\"\""),
            ("/* one\ntwo */ x", "\n x"),
        ];
        for (text, code) in pairs {
            assert_eq!(without_comments_and_literals(text), code);
        }
    }

    #[test]
    fn test_modules_and_functions_are_marked() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod d;\nfn e() {}\n";
        let marked: Vec<usize> =
            Source::new("x/src/a.rs", text).lines().filter(|line| line.test).map(|line| line.number).collect();
        assert_eq!(marked, [2, 3, 4, 5, 7, 8]);
        assert!(Source::new("x/tests/a.rs", text).lines().all(|line| line.test));
    }

    #[test]
    fn a_word_is_not_found_inside_a_longer_one() {
        assert!(has_word("x = unsafe { y }", "unsafe"));
        assert!(!has_word("#![deny(unsafe_code)]", "unsafe"));
        assert!(has_word("a.unwrap()", ".unwrap()"));
    }

    #[test]
    fn a_reason_excuses_its_line_and_the_next() {
        let source = Source::new("a.rs", "// tidy: the name is torch's\nx\ny\nz // tidy: why\n");
        let excused: Vec<bool> = (1..=4).map(|line| source.finding(line, "").is_none()).collect();
        assert_eq!(excused, [true, true, false, true]);
    }
}

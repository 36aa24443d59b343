//! Text that is safe to print and to write into a line of a text file.
//!
//! Names of files and classes come from anywhere. A control character in a name would move the cursor of a terminal, color the
//! following text, or break a line of a table.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns `text` with control characters as Rust's escapes, such as `\u{1b}`; line breaks stay.
///
/// ```
/// assert_eq!(selfie_train::escape_controls("a\x1b[31m\nb"), "a\\u{1b}[31m\nb");
/// ```
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && moves(c))
}

/// Returns `text` as one field of a line of a text file: control characters and backslashes as Rust's escapes.
///
/// ```
/// assert_eq!(selfie_train::escape_field("a\tb\\c\n"), "a\\tb\\\\c\\n");
/// ```
pub fn escape_field(text: &str) -> Cow<'_, str> {
    escape(text, |c| c == '\\' || moves(c))
}

/// Whether a character is not printed in its place: a control character, a line separator, or one that changes the direction of
/// the text.
fn moves(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_escaped) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !is_escaped(c) => out.push(c),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            // Writing to a string does not fail.
            c => _ = write!(out, "\\u{{{:x}}}", c as u32),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_left_alone() {
        for text in ["a b/c.jpg", "übergröße", "猫", "C:\\photos"] {
            assert!(matches!(escape_controls(text), Cow::Borrowed(same) if same == text));
        }
        assert_eq!(escape_field("C:\\photos"), "C:\\\\photos");
    }

    #[test]
    fn no_control_character_is_left_and_fields_have_no_tab_or_line_break() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        assert!(!escape_controls(&all).chars().any(|c| c != '\n' && c.is_control()));
        assert!(!escape_field(&all).chars().any(char::is_control));
        assert_eq!(escape_field("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
        assert_eq!(escape_controls("bell\u{7} c1\u{9b}31m"), "bell\\u{7} c1\\u{9b}31m");
    }
}

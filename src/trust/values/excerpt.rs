//! Someone else's text (a server's, a check's, a socket's) before it is kept or shown: printable, and never longer than
//! what keeps it can read again.

use std::fmt::Write as _;

const CUT: &str = "[...]";

/// At most `most` characters of the beginning: of an answer, which says first what it is.
#[must_use]
pub fn beginning(text: &str, most: usize) -> String {
    cut(text, most, |kept| format!("{} {CUT}", printable(text).take(kept).collect::<String>()))
}

/// At most `most` characters of the end: of an output, which says last what broke.
#[must_use]
pub fn end(text: &str, most: usize) -> String {
    cut(text, most, |kept| {
        let excess = printable(text).count().saturating_sub(kept);
        format!("{CUT} {}", printable(text).skip(excess).collect::<String>())
    })
}

fn cut(text: &str, most: usize, keep: impl Fn(usize) -> String) -> String {
    let is_short = printable(text).nth(most).is_none();
    if is_short { printable(text).collect() } else { keep(most.saturating_sub(CUT.len().saturating_add(1))) }
}

fn printable(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t'))
}

/// The longest piece of text from a certificate that a message repeats.
const LONGEST_QUOTE: usize = 160;

/// Text from a certificate, made harmless for a terminal and a log, and bounded.
pub(crate) fn quoted(text: &str) -> String {
    let harmless = text.chars().flat_map(|character| {
        let plain = character.is_ascii_graphic() || character == ' ';
        let escaped = (!plain).then(|| character.escape_unicode());
        plain.then_some(character).into_iter().chain(escaped.into_iter().flatten())
    });
    let mut harmless = harmless.take(LONGEST_QUOTE.saturating_add(1)).collect::<String>();
    if harmless.len() > LONGEST_QUOTE {
        harmless.truncate(LONGEST_QUOTE);
        harmless.push_str("...");
    }
    if harmless.is_empty() { "(empty name)".into() } else { harmless }
}

/// How many names of an identity a message shows.
pub(crate) const SHOWN: usize = 8;

/// Names as a list in TOML, without its brackets; at most `most` of them.
pub(crate) fn quoted_list<'a>(names: impl IntoIterator<Item = &'a String>, most: usize) -> String {
    let names: Vec<String> = names.into_iter().take(most).map(|name| format!("\"{}\"", quoted(name))).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The text with everything shown that a terminal would obey, or not show: control characters but line ends and tabs,
/// what turns the direction of writing, what has no width. They are written as JSON writes them, so that JSON stays
/// what it was.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_plain(character) {
            shown.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

fn is_plain(character: char) -> bool {
    match character {
        '\n' | '\t' => true,
        // Unicode's format characters, and its separators of lines and paragraphs.
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => false,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => false,
        other => !other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_is_longer_is_cut_at_the_other_end_and_says_so() {
        for cut in [beginning, end] {
            assert_eq!(cut("a\tb\nc\u{1b}\u{0}\r\u{9b}", 20), "a\tb\nc");
            assert_eq!(cut(&"ü".repeat(20), 20), "ü".repeat(20));
            assert_eq!(cut("", 0), "");
        }
        let long = format!("first{}last", "€".repeat(5_000_000));
        assert_eq!(beginning(&long, 20), format!("first{} [...]", "€".repeat(9)));
        assert_eq!(end(&long, 20), format!("[...] {}last", "€".repeat(10)));
        for cut in [beginning, end] {
            assert_eq!(cut(&long, 4_000).chars().count(), 4_000);
            assert_eq!(cut(&cut(&long, 4_000), 4_000), cut(&long, 4_000), "once is enough");
        }
    }
}

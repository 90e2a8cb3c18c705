//! Text from the wire, made fit to be shown: bounded, without control characters, and not at all where a part of what
//! must stay secret is in it, however it is written.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::trust::values::fingerprint::hex;

/// As much of a vendor's text as an error shows.
const SHOWN: usize = 300;
/// So much of a secret gives it away: half of the shortest that an OAuth server makes. Less of it is in any text by
/// chance.
const PART: usize = 8;
/// A longer text is not looked through, and so not shown.
const LONGEST: usize = 64 * 1024;
/// What stands in its place.
const TOO_LONG: &str = "[withheld: longer than anything that is shown]";
/// What stands in the place of a text that gives a secret away.
const WITHHELD: &str = "[withheld: a part of a secret is in it]";

/// Knows the secrets of the moment in every form that an answer may echo them in: as they are, in base64 at any
/// alignment, in hexadecimal; and these percent-encoded, escaped for JSON, split, or cut.
#[derive(Clone, Default)]
pub struct Scrub {
    parts: HashSet<[u8; PART]>,
    /// Whether a part begins with these two bytes: nearly all that is looked up is not a part, and a listing is large.
    heads: Vec<bool>,
}

impl Scrub {
    /// Withholds what holds a part of one of `secrets` from now on.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut scrub = Self::default();
        secrets.into_iter().for_each(|secret| scrub.forbid(secret));
        scrub
    }

    /// Withholds what holds a part of `secret` too.
    pub fn forbid(&mut self, secret: &str) {
        for form in forms(secret.as_bytes()) {
            self.parts.extend(parts(&lower(&form)));
            self.parts.extend(parts(&bare(&form)));
        }
        self.heads.resize(1 << 16, false);
        for part in &self.parts {
            if let Some(head) = self.heads.get_mut(head(part)) {
                *head = true;
            }
        }
    }

    /// `text` on one line, at most 300 characters of it; withheld where a part of a secret is in it.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        if text.len() > LONGEST {
            return TOO_LONG.to_owned();
        }
        let mut text = plain(text);
        if self.is_in(text.as_bytes()) {
            return WITHHELD.to_owned();
        }
        if text.chars().count() > SHOWN {
            text = text.chars().take(SHOWN).chain("...".chars()).collect();
        }
        text
    }

    /// Whether a part of a secret is in a text, in whatever form.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        let holds = |text: &[u8]| self.is_plainly_in(text) || parts(&lower(text)).any(|part| self.has(&part));
        holds(text) || holds(&percent_decoded(text)) || holds(&json_unescaped(text))
    }

    /// Whether a part of a secret is in a text by its letters and digits alone, whatever stands between them.
    #[must_use]
    pub fn is_plainly_in(&self, text: &[u8]) -> bool {
        !self.parts.is_empty() && parts(&bare(text)).any(|part| self.has(&part))
    }

    fn has(&self, part: &[u8; PART]) -> bool {
        self.heads.get(head(part)) == Some(&true) && self.parts.contains(part)
    }
}

/// In whatever case, as hosts are lower-cased.
fn lower(text: &[u8]) -> Vec<u8> {
    text.to_ascii_lowercase()
}

/// Without what may stand between letters and digits.
fn bare(text: &[u8]) -> Vec<u8> {
    text.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

fn parts(text: &[u8]) -> impl Iterator<Item = [u8; PART]> {
    text.windows(PART).filter_map(|part| part.try_into().ok())
}

fn head(part: &[u8; PART]) -> usize {
    let [first, second, ..] = *part;
    usize::from(u16::from_be_bytes([first, second]))
}

fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec(), hex(secret).into_bytes()];
    // What stands before it decides how it falls into groups of three.
    for (before, spoilt) in [(0, 0), (1, 2), (2, 3)] {
        let group = [&vec![0; before], secret].concat();
        let last = usize::from(group.len() % 3 != 0);
        for text in [STANDARD_NO_PAD.encode(&group), URL_SAFE_NO_PAD.encode(&group)] {
            let end = text.len().saturating_sub(last);
            forms.extend(text.as_bytes().get(spoilt..end).map(<[u8]>::to_vec));
        }
    }
    forms
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    decoded(text, b"%", 2)
}

fn json_unescaped(text: &[u8]) -> Vec<u8> {
    decoded(text, b"\\u", 4)
}

/// Each escape of so many hexadecimal digits as the byte that it stands for.
fn decoded(text: &[u8], mark: &[u8], digits: usize) -> Vec<u8> {
    let mut read = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escape = rest.strip_prefix(mark).and_then(|escape| escape.split_at_checked(digits));
        let byte = escape.and_then(|(number, after)| {
            let number = std::str::from_utf8(number).ok()?;
            Some((u8::try_from(u32::from_str_radix(number, 16).ok()?).ok()?, after))
        });
        let (byte, after) = byte.unwrap_or((*first, after));
        read.push(byte);
        rest = after;
    }
    read
}

/// Without control characters and without those that reorder or hide text (bidirectional marks, zero widths).
fn plain(text: &str) -> String {
    let hides = |character: char| {
        character.is_control()
            || matches!(
                character,
                '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
            )
    };
    text.chars().filter(|character| !hides(*character)).collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const SECRET: &str = "s3cr/t+of-0urs";

    #[test]
    fn a_secret_is_found_however_it_is_written_and_cut() {
        let scrub = Scrub::new([SECRET, "aWQ6czNjcmV0"]);
        let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let json: String = SECRET.chars().map(|character| format!("\\u{:04x}", u32::from(character))).collect();
        let mut texts = vec![
            SECRET.to_owned(),
            SECRET.to_uppercase(),
            "s3c\u{0}r/\nt+of-0urs".to_owned(),
            "s 3 c r / t + o f - 0 u r s".to_owned(),
            "Basic aWQ6czNjcmV0".to_owned(),
            percent,
            url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect(),
            json,
            SECRET.replace('/', "\\/"),
            hex(SECRET.as_bytes()),
            SECRET.bytes().map(|byte| format!("{byte:02X}:")).collect(),
            SECRET[..10].to_owned(),
            SECRET[4..].to_owned(),
        ];
        for before in ["", "x", "xy", "xyz"] {
            texts.push(STANDARD.encode(format!("{before}{SECRET}:and more")));
            texts.push(URL_SAFE_NO_PAD.encode(format!("{before}{SECRET}")));
        }
        for text in texts {
            assert_eq!(scrub.clean(&format!("before {text} after")), WITHHELD, "{text}");
        }
    }

    #[test]
    fn what_holds_no_part_of_a_secret_is_shown_and_bounded() {
        let scrub = Scrub::new([SECRET, "t", "ab", ""]);
        for text in ["at that time", "über ß", "s3cr/t", "https://api.example.com/api/v2/certificates?a=%20&b=%zz\\u12"]
        {
            assert_eq!(scrub.clean(text), text);
        }
        assert_eq!(scrub.clean("a\u{202e}b\u{1b}[c"), "ab[c");
        assert_eq!(scrub.clean(&"y".repeat(5_000)).len(), 303);
        assert_eq!(scrub.clean(&"y".repeat(LONGEST + 1)), TOO_LONG);
        assert!(!Scrub::default().is_in(b"anything at all"));
    }
}

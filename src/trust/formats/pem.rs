//! PEM as the vendor really writes it, read without losing a block, and PEM as we write it.
//!
//! Every reader we measured (OpenSSL, Go, rustls-pki-types, x509-parser) silently skips or merges blocks on some input:
//! a space before `-----BEGIN` is enough. Here every BEGIN marker, wherever it stands, yields one [`Block`], read or
//! refused, so that nothing can go missing between what was sent and what is verified. What RFC 7468 allows is read,
//! and so is any ASCII whitespace around markers and within the base64; everything else is an error of its block.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN";
const END: &str = "-----END";
const DASHES: &str = "-----";

/// The longest text between two BEGIN markers that is decoded: a certificate has a few kilobytes, a CRL may have many.
const LONGEST_BLOCK: usize = 32 * 1024 * 1024;
/// The longest label that is shown.
const LONGEST_LABEL: usize = 64;

/// One block between markers, or why it could not be read.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// The label of the BEGIN marker, empty where it could not be read.
    pub label: String,
    /// The decoded bytes, or why there are none.
    pub bytes: Result<Vec<u8>, BlockError>,
    /// What was read over; nothing of it is wrong.
    pub oddities: Vec<Oddity>,
}

impl Block {
    fn note(&mut self, oddity: Oddity) {
        if !self.oddities.contains(&oddity) {
            self.oddities.push(oddity);
        }
    }
}

/// Never the bytes: a block must be safe to log, whatever it contains.
impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("label", &self.label)
            .field("bytes", &self.bytes.as_ref().map(Vec::len))
            .field("oddities", &self.oddities)
            .finish()
    }
}

/// Why a block could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The text after `-----BEGIN` was not a label and five dashes.
    #[error("its BEGIN marker is not of the form -----BEGIN LABEL-----")]
    BrokenMarker,
    /// No `-----END` before the next BEGIN or the end of the text.
    #[error("it has no END marker: the text was cut off, or two blocks run into each other")]
    NoEnd,
    /// BEGIN and END name different things.
    #[error("its END marker does not repeat the label of its BEGIN marker")]
    LabelMismatch,
    /// An END marker that no BEGIN opened: a block before it has lost its BEGIN marker.
    #[error("an END marker beside it has no BEGIN marker: a block may have been lost")]
    StrayEnd,
    /// A character that base64 does not have, such as the `...` of an abbreviated example.
    #[error("its base64 contains '{}'", .0.escape_default())]
    NotBase64(char),
    /// Right characters, but of a wrong number, padding or final bits.
    #[error("its base64 is cut off or wrongly padded")]
    BadPadding,
    /// Nothing between the markers.
    #[error("it is empty")]
    Empty,
    /// Longer than anything that could be meant.
    #[error("it is longer than {LONGEST_BLOCK} characters")]
    TooLong,
    /// A private key is never decoded, so that it cannot end in a log.
    #[error("it is a private key, which was not read")]
    PrivateKey,
}

/// What was read over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// A byte-order mark at the beginning of the text.
    ByteOrderMark,
    /// Text before the first block or between blocks.
    TextBefore,
    /// Text after the last block.
    TextAfter,
    /// Whitespace before or after a marker on its line, with which other readers lose the block.
    SpaceAroundMarker,
    /// Whitespace within a line of base64.
    SpaceInBase64,
}

impl Oddity {
    /// What was read over, in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "a byte-order mark before it",
            Self::TextBefore => "text before it",
            Self::TextAfter => "text after it",
            Self::SpaceAroundMarker => "spaces around its markers",
            Self::SpaceInBase64 => "spaces within its base64",
        }
    }
}

/// Whether a label names a private key of any kind (`PRIVATE KEY`, `RSA PRIVATE KEY`, `ENCRYPTED PRIVATE KEY`...).
#[must_use]
pub fn is_private(label: &str) -> bool {
    label.to_ascii_uppercase().contains("PRIVATE")
}

/// How many BEGIN markers a text has; [`scan`] returns as many blocks.
#[must_use]
pub fn count(text: &str) -> usize {
    text.matches(BEGIN).count()
}

/// Every block of a text: as many as it has BEGIN markers.
#[must_use]
pub fn scan(text: &str) -> Vec<Block> {
    let (text, bom) = text.strip_prefix('\u{feff}').map_or((text, false), |rest| (rest, true));
    let mut sections = text.split(BEGIN);
    let mut before = sections.next().unwrap_or_default();
    let mut blocks: Vec<Block> = Vec::new();
    let mut lead_is_broken = before.contains(END);
    for section in sections {
        let (mut block, after) = read_section(section);
        if blocks.is_empty() && bom {
            block.note(Oddity::ByteOrderMark);
        }
        if !before.trim().is_empty() {
            block.note(Oddity::TextBefore);
        }
        if !before.is_empty() && !before.ends_with(['\n', '\r']) && before.trim_end() != before {
            block.note(Oddity::SpaceAroundMarker);
        }
        if std::mem::take(&mut lead_is_broken) {
            block.bytes = Err(BlockError::StrayEnd);
        }
        before = after;
        blocks.push(block);
    }
    if let Some(last) = blocks.last_mut()
        && !before.trim().is_empty()
    {
        last.note(Oddity::TextAfter);
    }
    blocks
}

/// One block from what follows its `-----BEGIN` up to the next one, and the text after it.
fn read_section(section: &str) -> (Block, &str) {
    let mut oddities = Vec::new();
    let refused = |label: String, error| (Block { label, bytes: Err(error), oddities: Vec::new() }, "");
    let broken_marker = || {
        // Half a marker of a private key is as alarming as a whole one.
        let start: String = section.chars().take(LONGEST_LABEL).collect();
        let private = is_private(start.lines().next().unwrap_or_default());
        refused(String::new(), if private { BlockError::PrivateKey } else { BlockError::BrokenMarker })
    };
    let Some((label, body)) = section.split_once(DASHES) else {
        return broken_marker();
    };
    let wellformed = label.starts_with(' ')
        && label.len() <= LONGEST_LABEL
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ')
        && !label.trim().is_empty();
    if !wellformed {
        return broken_marker();
    }
    let label = label.trim().to_owned();
    let parts = body.split_once(END).and_then(|(base64, ending)| Some((base64, ending.split_once(DASHES)?)));
    let Some((base64, (end_label, after))) = parts else { return refused(label, BlockError::NoEnd) };
    if is_private(&label) {
        return (Block { label, bytes: Err(BlockError::PrivateKey), oddities }, after);
    }
    if end_label.trim() != label || !end_label.starts_with(' ') {
        return refused(label, BlockError::LabelMismatch);
    }
    if after.contains(END) {
        return refused(label, BlockError::StrayEnd);
    }
    let space = |c: char| c == ' ' || c == '\t';
    if base64.starts_with(space) || base64.ends_with(space) || after.starts_with(space) {
        oddities.push(Oddity::SpaceAroundMarker);
    }
    if base64.lines().any(|line| line.trim().contains(space)) {
        oddities.push(Oddity::SpaceInBase64);
    }
    (Block { label, bytes: decode(base64), oddities }, after)
}

fn decode(base64: &str) -> Result<Vec<u8>, BlockError> {
    if base64.len() > LONGEST_BLOCK {
        return Err(BlockError::TooLong);
    }
    let mut digits = String::with_capacity(base64.len());
    for character in base64.chars() {
        match character {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '/' | '=' => digits.push(character),
            ' ' | '\t' | '\r' | '\n' | '\x0b' | '\x0c' => {}
            other => return Err(BlockError::NotBase64(other)),
        }
    }
    if digits.is_empty() {
        return Err(BlockError::Empty);
    }
    STANDARD.decode(digits).map_err(|_| BlockError::BadPadding)
}

/// Canonical PEM (RFC 7468 "strict"): LF, 64 columns, one final newline.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let digits = STANDARD.encode(der);
    let mut text = format!("{BEGIN} {label}{DASHES}\n");
    for line in digits.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("{END} {label}{DASHES}\n"));
    text
}

//! What another process writes, passed on to our own output: bounded, and with nothing in it that a terminal would
//! obey.

use std::convert::Infallible;
use std::io::{ErrorKind, Result, Write};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::trust::values::excerpt::visible;

/// As much of a stream is passed on.
const MOST: usize = 1024 * 1024;

/// A line that is longer is passed on in pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// One stream. It is read to its end, whatever becomes of what was read: its writer must not be kept waiting.
pub struct Relay<From, To> {
    from: From,
    to: Outlet<To>,
    ended: bool,
}

impl<From: AsyncRead + Unpin, To: Write> Relay<From, To> {
    /// From there to there; `name` is what people call the stream.
    pub fn new(from: From, to: To, name: &'static str) -> Self {
        let to = Outlet { to, name, held: Vec::new(), left: MOST, is_cut: false, at_start: true, failed: Ok(()) };
        Self { from, to, ended: false }
    }

    /// Passes everything on. May be dropped, and called again.
    pub async fn drain(&mut self) {
        let mut chunk = vec![0; 16 * 1024];
        while !self.ended {
            match self.from.read(&mut chunk).await {
                Ok(read @ 1..) => self.to.pass(chunk.get(..read).unwrap_or_default()),
                Ok(0) | Err(_) => self.ended = true,
            }
        }
    }

    /// The same, and then waits for ever: an arm of a `select!` that only the other one ends.
    pub async fn drain_on(&mut self) -> Infallible {
        self.drain().await;
        std::future::pending().await
    }

    /// Passes on what was held back for the end of its line. Whether all could be written; that the reader has closed
    /// the output is not a failure.
    pub fn finish(mut self) -> Result<()> {
        self.to.release(self.to.held.len());
        self.to.failed
    }
}

/// The synchronous part of it.
struct Outlet<To> {
    to: To,
    name: &'static str,
    /// A line whose end has not come yet.
    held: Vec<u8>,
    /// How many bytes are still passed on.
    left: usize,
    is_cut: bool,
    at_start: bool,
    failed: Result<()>,
}

impl<To: Write> Outlet<To> {
    fn pass(&mut self, bytes: &[u8]) {
        if self.is_cut {
            return;
        }
        let (passed, cut) = bytes.split_at_checked(self.left).unwrap_or((bytes, &[]));
        self.left = self.left.saturating_sub(passed.len());
        let after = passed.iter().rev().position(|byte| *byte == b'\n');
        self.held.extend_from_slice(passed);
        if !cut.is_empty() {
            self.cut();
        } else if let Some(after) = after {
            self.release(self.held.len().saturating_sub(after));
        } else if self.held.len() >= LONGEST_LINE {
            self.release(whole_characters(&self.held));
        }
    }

    fn cut(&mut self) {
        self.is_cut = true;
        self.release(self.held.len());
        if !self.at_start {
            self.write("\n");
        }
        log_line!(OutputCut, "the command wrote more than {MOST} bytes to {}; the rest is not shown", self.name);
    }

    fn release(&mut self, length: usize) {
        let rest = self.held.split_off(length.min(self.held.len()));
        let text = visible(&String::from_utf8_lossy(&self.held));
        self.held = rest;
        self.write(&text);
    }

    fn write(&mut self, text: &str) {
        if text.is_empty() || self.failed.is_err() {
            return;
        }
        self.at_start = text.ends_with('\n');
        match self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.is_cut = true,
            Err(error) => self.failed = Err(error),
        }
    }
}

/// Up to where it does not end within a character.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlet() -> Outlet<Vec<u8>> {
        Relay::new(tokio::io::empty(), Vec::new(), "stdout").to
    }

    fn shown(outlet: &Outlet<Vec<u8>>) -> &str {
        std::str::from_utf8(&outlet.to).unwrap()
    }

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through_and_json_stays_what_it_was() {
        let hostile = "\u{1b}]0;x\u{7}\u{9b}2J\r\u{202e}\u{200b}\u{2028}\u{e0001}\u{8}\u{7f}\u{0}";
        let shown = visible(hostile);
        assert!(shown.is_ascii() && !shown.chars().any(char::is_control), "{shown}");
        assert_eq!(visible("tab\tünd\nZeile €😀 \\"), "tab\tünd\nZeile €😀 \\");
        let json = serde_json::to_string(&[hostile, "\\\u{202e}\\"]).unwrap();
        let read: Vec<String> = serde_json::from_str(&visible(&json)).unwrap();
        assert_eq!(read, [hostile, "\\\u{202e}\\"]);
    }

    #[test]
    fn lines_come_through_as_they_are_written_and_characters_whole() {
        let mut outlet = outlet();
        for byte in "eins\nzwei €".bytes() {
            outlet.pass(&[byte]);
        }
        assert_eq!(shown(&outlet), "eins\n");
        outlet.release(outlet.held.len());
        assert_eq!(shown(&outlet), "eins\nzwei €");
        for byte in "€".repeat(LONGEST_LINE).bytes() {
            outlet.pass(&[byte]);
        }
        assert!(outlet.held.len() < LONGEST_LINE);
        assert!(shown(&outlet).ends_with("€€") && !shown(&outlet).contains(char::REPLACEMENT_CHARACTER));
    }

    #[test]
    fn what_is_too_much_is_cut_at_the_bound() {
        let mut outlet = outlet();
        for _ in 0..40 {
            outlet.pass(&[b'x'; 100_000]);
        }
        assert_eq!(shown(&outlet), format!("{}\n", "x".repeat(MOST)));
        assert!(outlet.is_cut && outlet.held.is_empty());
    }
}

//! Lines of evidence that the disk did not take. They wait in the state, bounded, until it does; what no longer fits is
//! counted, so that a gap in the evidence says itself.

use serde::{Deserialize, Serialize};

/// How many lines wait at most.
const MOST_LINES: usize = 100;

/// How many bytes wait at most, in all.
const MOST_BYTES: usize = 256 * 1024;

/// What waits to be appended, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceBacklog {
    /// Each a JSON object, as it will stand in the file.
    pub lines: Vec<String>,
    /// How many older ones had no room here.
    #[serde(default)]
    pub lost: u64,
}

impl EvidenceBacklog {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.lost == 0
    }

    /// Lets a line wait; the oldest give way.
    pub fn push(&mut self, line: String) {
        self.lines.push(line);
        let mut bytes: usize = self.lines.iter().map(String::len).sum();
        while bytes > MOST_BYTES || self.lines.len() > MOST_LINES {
            bytes = bytes.saturating_sub(self.lines.remove(0).len());
            self.lost = self.lost.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_give_way_and_are_counted() {
        let mut backlog = EvidenceBacklog::default();
        assert!(backlog.is_empty());
        for number in 0..150 {
            backlog.push(format!("{{\"number\":{number}}}"));
        }
        assert_eq!((backlog.lines.len(), backlog.lost), (MOST_LINES, 50));
        assert_eq!(backlog.lines[0], "{\"number\":50}");
        for _ in 0..10 {
            backlog.push("x".repeat(60_000));
        }
        assert!(backlog.lines.iter().map(String::len).sum::<usize>() <= MOST_BYTES);
        assert_eq!(backlog.lines.len() as u64 + backlog.lost, 160);
    }
}

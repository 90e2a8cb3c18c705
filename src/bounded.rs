//! Reads what somebody else wrote, and no more of it than makes sense.

use std::io::{Error, ErrorKind, Read, Result};

/// All that there is, if it is at most `limit` bytes.
pub(crate) fn read_at_most(from: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

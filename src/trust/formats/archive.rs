//! Zip archives, as the vendor hands out its regional roots: a few small files, read bounded and never unpacked to
//! disk.

use std::io::{Cursor, Read};

use zip::ZipArchive;

/// The most files that an archive may have.
pub const MOST_FILES: usize = 64;

/// The most bytes that all its files may have, unpacked.
pub const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedFile {
    /// Its name in the archive, for messages alone: bounded and harmless, and never a path on our disk.
    pub name: String,
    /// Its content, unpacked.
    pub content: Vec<u8>,
}

/// An archive could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// Not an archive, or a damaged one.
    #[error("the zip archive cannot be read: {0}")]
    Damaged(String),
    /// More files than any vendor's archive has.
    #[error("the zip archive has {0} files, more than {MOST_FILES}")]
    TooManyFiles(usize),
    /// It unpacks to more than we read.
    #[error("the zip archive unpacks to more than {MOST_BYTES} bytes")]
    TooLarge,
    /// Its files are encrypted, or packed in a way that is not used for certificates.
    #[error("the zip archive's file {0} cannot be unpacked (encrypted, or packed in an unusual way)")]
    Unsupported(String),
}

/// Whether bytes begin as an archive does.
#[must_use]
pub fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// Every file of an archive, in its order; folders, and what macOS adds beside each file, are left out.
pub fn files(bytes: &[u8]) -> Result<Vec<ArchivedFile>, ArchiveError> {
    let damaged = |error: &dyn std::fmt::Display| ArchiveError::Damaged(error.to_string());
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(&error))?;
    if archive.len() > MOST_FILES {
        return Err(ArchiveError::TooManyFiles(archive.len()));
    }
    let mut files = Vec::new();
    let mut left = MOST_BYTES;
    for at in 0..archive.len() {
        let file =
            archive.by_index(at).map_err(|_| ArchiveError::Unsupported(format!("number {}", at.saturating_add(1))))?;
        let name = crate::trust::values::excerpt::quoted(&String::from_utf8_lossy(file.name_raw()));
        if file.is_dir() || name.starts_with("__MACOSX/") {
            continue;
        }
        // The sizes that the archive claims are not believed.
        let mut content = Vec::new();
        file.take(left.saturating_add(1)).read_to_end(&mut content).map_err(|error| damaged(&error))?;
        left = left.checked_sub(content.len() as u64).ok_or(ArchiveError::TooLarge)?;
        files.push(ArchivedFile { name, content });
    }
    Ok(files)
}

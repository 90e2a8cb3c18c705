//! An empty folder for one check.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Removed with all that is in it, when it is dropped.
pub(super) struct Room(PathBuf);

impl Room {
    pub(super) fn new() -> Result<Self, String> {
        let name = ring::rand::generate::<[u8; 8]>(&ring::rand::SystemRandom::new())
            .map(|bytes| u64::from_be_bytes(bytes.expose()))
            .map_err(|_| "no randomness for the name of a folder".to_owned())?;
        let path = std::env::temp_dir().join(format!("trustsync-check-{name:016x}"));
        match DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) => Err(format!("{} could not be made: {error}", path.display())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! A check that is a real start of the server, in namespaces of its own: what it loads is what would be served.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::verdict::{CheckOutcome, run_in_view};
use crate::targets::process::{Environment, RunError};
use crate::targets::ways::Start;

/// Starts the server in private, with the first of these folders where the second stands, and ends it once it would serve.
pub(super) async fn judge(
    start: &Start,
    argv: &[String],
    bound: Option<(&str, &str)>,
    environment: &Environment,
    limit: Duration,
) -> CheckOutcome {
    if argv.is_empty() {
        return CheckOutcome::CouldNotRun(RunError::Empty.to_string());
    }
    if !rustix::process::geteuid().is_root() {
        return CheckOutcome::PrivateUnavailable("a start in namespaces of its own needs root".to_owned());
    }
    let room = match Room::new() {
        Ok(room) => room,
        Err(why) => return CheckOutcome::PrivateUnavailable(why),
    };
    let mut wrapped: Vec<String> = ["unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child"]
        .into_iter()
        .chain(["--propagation", "private", "--", "sh", "-c", start.script, "sh"])
        .map(String::from)
        .collect();
    let (new, old) = bound.unwrap_or_default();
    wrapped.extend([room.path().to_string_lossy().into_owned(), new.to_owned(), old.to_owned()]);
    wrapped.extend_from_slice(argv);
    run_in_view(&wrapped, environment, limit, "no namespaces of its own with the new files over the old").await
}

/// An empty folder, removed at the end.
pub(super) struct Room(PathBuf);

impl Room {
    pub(super) fn new() -> Result<Self, String> {
        let jitter = ring::rand::generate::<[u8; 8]>(&ring::rand::SystemRandom::new())
            .map(|bytes| u64::from_be_bytes(bytes.expose()))
            .map_err(|_| "no randomness for the name of a folder".to_owned())?;
        let path = std::env::temp_dir().join(format!("trustsync-check-{jitter:016x}"));
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

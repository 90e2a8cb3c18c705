//! Shows a check a generation that was broken on purpose, in private: a check that passes it reads none of its files.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::room::Room;
use super::{CheckOutcome, View, run};
use crate::targets::kind::Kind;
use crate::targets::process::Environment;
use crate::targets::ways::{Check, CheckWay};
use crate::trust::turn::canary::CanaryVerdict;

/// A certificate by its frame alone, so that even those servers notice it which skip what they do not know.
const NO_CERTIFICATE: &str =
    "-----BEGIN CERTIFICATE-----\ndHJ1c3RzeW5jIGJyb2tlIHRoaXMgb24gcHVycG9zZQ==\n-----END CERTIFICATE-----\n";

/// A text that no server's configuration can hold.
const NO_LIST: &str = "} trustsync broke this file on purpose: a check that reads it refuses it {\n";

/// Whether the check notices a broken copy of `generation` where `link` leads; none where it refuses the good one as
/// well, so that its verdict says nothing.
pub async fn of(
    kind: Kind,
    check: Check<'_>,
    generation: &Path,
    link: &Path,
    environment: &Environment,
    limit: Duration,
) -> Option<CanaryVerdict> {
    let not_tried = |why: String| Some(CanaryVerdict::NotTried(why));
    if !rustix::process::geteuid().is_root() {
        let why = "a broken generation is shown to it in a mount namespace of its own, and that needs root";
        return not_tried(why.to_owned());
    }
    let spared = kind.spared_by_canary.filter(|_| check.way == CheckWay::Test);
    let broken = Room::new().and_then(|room| {
        let copied = copy_broken(generation, room.path(), spared);
        copied.map(|()| room).map_err(|error| format!("{} could not be copied: {error}", generation.display()))
    });
    let broken = match broken {
        Ok(broken) => broken,
        Err(why) => return not_tried(why),
    };
    match run(check, View::Private { new: broken.path(), link }, environment, limit).await {
        CheckOutcome::Passed => return Some(CanaryVerdict::Blind),
        CheckOutcome::Failed { .. } => {}
        CheckOutcome::CouldNotRun(_) => return None,
        CheckOutcome::PrivateUnavailable(why) => return not_tried(why),
    }
    let good = run(check, View::Private { new: generation, link }, environment, limit).await;
    (good == CheckOutcome::Passed).then_some(CanaryVerdict::Sees)
}

/// The extensions of files that are not certificates.
const LISTS: [&str; 5] = ["conf", "map", "list", "txt", "json"];

/// Breaks every file but those with the extension `spared`.
fn copy_broken(from: &Path, to: &Path, spared: Option<&str>) -> io::Result<()> {
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&copy)?;
            copy_broken(&path, &copy, spared)?;
            continue;
        }
        let extension = path.extension().and_then(OsStr::to_str);
        if extension.is_some() && extension == spared {
            fs::copy(&path, &copy)?;
        } else {
            let is_list = extension.is_some_and(|extension| LISTS.contains(&extension));
            fs::write(&copy, if is_list { NO_LIST } else { NO_CERTIFICATE })?;
        }
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

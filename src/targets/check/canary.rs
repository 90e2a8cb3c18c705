//! Shows a check a generation that was broken on purpose, in private: one that passes it looks at nothing.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::start::Room;
use super::{CheckOutcome, View, judge};
use crate::targets::kind::Kind;
use crate::targets::process::Environment;
use crate::targets::ways::Check;
use crate::trust::canary::CanaryVerdict;

/// A certificate by its frame alone, so that even those notice who read on past what they do not know.
const NO_CERTIFICATE: &str =
    "-----BEGIN CERTIFICATE-----\ndHJ1c3RzeW5jIGJyb2tlIHRoaXMgb24gcHVycG9zZQ==\n-----END CERTIFICATE-----\n";

/// Nothing that any server's configuration could hold.
const NO_LIST: &str = "} trustsync broke this file on purpose: a check that reads it refuses it {\n";

/// What the check makes of a broken copy of `generation` where `link` leads; none where it refuses the good one as well, so
/// that its verdict says nothing.
pub async fn of(
    kind: Kind,
    check: Check<'_>,
    generation: &Path,
    link: &Path,
    environment: &Environment,
    limit: Duration,
) -> Option<CanaryVerdict> {
    if !rustix::process::geteuid().is_root() {
        let why = "a broken generation is shown to it in a mount namespace of its own, and that needs root";
        return Some(CanaryVerdict::NotTried(why.to_owned()));
    }
    let broken = Room::new().and_then(|room| {
        let copied = copy_broken(generation, room.path(), &|path| kind.is_checked(check.way, path));
        copied.map(|()| room).map_err(|error| format!("{} could not be copied: {error}", generation.display()))
    });
    let broken = match broken {
        Ok(broken) => broken,
        Err(why) => return Some(CanaryVerdict::NotTried(why)),
    };
    match judge(check, View::Private { new: broken.path(), link }, environment, limit).await {
        CheckOutcome::Passed => return Some(CanaryVerdict::Blind),
        CheckOutcome::Failed { .. } => {}
        CheckOutcome::CouldNotRun(_) => return None,
        CheckOutcome::PrivateUnavailable(why) => return Some(CanaryVerdict::NotTried(why)),
    }
    let good = judge(check, View::Private { new: generation, link }, environment, limit).await;
    (good == CheckOutcome::Passed).then_some(CanaryVerdict::Sees)
}

fn copy_broken(from: &Path, to: &Path, is_checked: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&copy)?;
            copy_broken(&path, &copy, is_checked)?;
            continue;
        }
        if is_checked(&path) {
            let is_list = path
                .extension()
                .is_some_and(|extension| ["conf", "map", "list", "txt", "json"].iter().any(|list| extension == *list));
            fs::write(&copy, if is_list { NO_LIST } else { NO_CERTIFICATE })?;
        } else {
            fs::copy(&path, &copy)?;
        }
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

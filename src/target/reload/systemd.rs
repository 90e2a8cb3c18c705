//! A reload through systemd: `systemctl reload UNIT`, which as an unprivileged user needs a polkit rule.

use crate::target::process::Environment;
use crate::target::reload::{ReloadError, Told, command};

pub(super) async fn reload(unit: &str, environment: &Environment) -> Result<Told, ReloadError> {
    command::run(&["systemctl", "--no-ask-password", "reload", "--", unit].map(String::from), environment).await
}

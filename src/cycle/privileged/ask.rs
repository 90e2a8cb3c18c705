//! The daemon's side: it asks the privileged helper, and reads its answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::answer::ApplyOutcome;
use super::folder::{Privileged, Purpose};
use crate::settings::resolved::{Store as StoreSettings, Target};
use crate::store::StoreError;
use crate::targets::process::LAST_GRACE;
use crate::trust::records::manifest::Manifest;

/// How often the outcome of the privileged helper is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// How many checks a turn of the privileged helper may take: those of [`crate::trust::turn`] with their comparison, and
/// one that shows what the server's configuration asks.
const MOST_CHECKS: u32 = 6;

/// The privileged helper of a target, as the daemon sees it in one turn.
pub struct PrivilegedHelper<'a> {
    files: Privileged,
    target: &'a Target,
    manifest: &'a Manifest,
    /// Whether it was asked in this turn.
    asked: AtomicBool,
}

impl<'a> PrivilegedHelper<'a> {
    pub fn of(store: &StoreSettings, target: &'a Target, manifest: &'a Manifest) -> Result<Self, StoreError> {
        let files = Privileged::of(&store.privileged_path, &target.name)?;
        Ok(Self { files, target, manifest, asked: AtomicBool::new(false) })
    }

    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// What the privileged helper did not let in of this generation.
    pub fn withheld(&self) -> Option<String> {
        let last = self.last()?;
        (!last.refused.is_empty()).then(|| last.refused.join("; "))
    }

    /// What the privileged helper answered about this generation.
    pub fn last(&self) -> Option<ApplyOutcome> {
        let of_this = |last: &ApplyOutcome| {
            let rendered = last.rendered.as_ref();
            rendered.is_some_and(|rendered| {
                rendered.generation == self.manifest.generation && rendered.store == self.manifest.store
            })
        };
        ApplyOutcome::last(&self.files).filter(of_this)
    }

    /// Asks the privileged helper and waits for its answer, for as long as its work can take; why there is none.
    pub async fn ask(&self, purpose: Purpose) -> Result<ApplyOutcome, String> {
        self.asked.store(true, Ordering::Relaxed);
        let request =
            self.files.ask(purpose).map_err(|error| self.files.problem().unwrap_or_else(|| error.to_string()))?;
        let Target { name, check_timeout, reload_timeout, .. } = self.target;
        let unit = format!("trustsync-apply@{name}");
        let taken_within = reload_timeout.saturating_add(*check_timeout);
        // Each program has a last chance to end by itself.
        let checks = check_timeout.saturating_add(LAST_GRACE).saturating_mul(MOST_CHECKS);
        let done_within = reload_timeout.saturating_add(LAST_GRACE).saturating_add(checks);
        let asked = Instant::now();
        let mut taken: Option<Instant> = None;
        loop {
            if let Some(answer) = ApplyOutcome::last(&self.files)
                && answer.request.as_ref() == Some(&request.id)
            {
                return Ok(answer);
            }
            if taken.is_none() && !self.files.waits() {
                taken = Some(Instant::now());
            }
            match taken {
                None if asked.elapsed() >= taken_within => {
                    return Err(format!(
                        "the privileged helper did not take the request within {}: is {unit}.path enabled? See \
                         `systemctl status {unit}.path`; `sudo trustsync apply {name}` does it now",
                        humantime::format_duration(taken_within)
                    ));
                }
                Some(taken) if taken.elapsed() >= done_within => {
                    return Err(format!(
                        "the privileged helper took the request and left no outcome within {}: see `journalctl -u \
                         {unit}.service`",
                        humantime::format_duration(done_within)
                    ));
                }
                _ => sleep(LOOK).await,
            }
        }
    }
}

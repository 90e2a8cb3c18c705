//! Whether what a target's turn needs is within reach: of this process in a cycle, of the store's owner in
//! `config check`.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{Session, Turns, steps};
use crate::settings::resolved::{Store as StoreSettings, Target};
use crate::targets::reach::{User, obstacles};
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;

impl Session<'_> {
    /// Says what is out of reach. It is looked at once a poll, and at the start; between polls what was seen stands.
    pub(super) async fn say_what_is_out_of_reach(&mut self, turns: Turns, report: &mut super::Report) {
        let Some(manifest) = &self.contents.manifest else { return };
        for target in unprivileged(self.store) {
            let subject = Subject::target(&target.name);
            let standing = || {
                let alarms = self.contents.state.alarms.values().map(|alarm| &alarm.finding);
                alarms.into_iter().find(|found| found.event == Event::TargetOutOfReach && found.subject == subject)
            };
            let found = match turns {
                Turns::All => look(self.store, target, manifest.generation, &manifest.store, None).await,
                Turns::Due | Turns::Later => standing().map(|found| found.text.clone()),
            };
            report.findings.extend(found.map(|text| Finding::new(Event::TargetOutOfReach, subject, text)));
        }
    }
}

/// What the user who works on a store may not do for its targets, a sentence each: this process, or, for root, the
/// store's owner.
pub async fn out_of_reach(store: &StoreSettings) -> Vec<String> {
    let mut user = None;
    if rustix::process::geteuid().is_root() {
        let Ok(found) = fs::metadata(&store.path) else { return Vec::new() };
        user = Some(User { uid: found.uid(), gid: found.gid() });
    }
    let mut found = Vec::new();
    for target in unprivileged(store) {
        let text = look(store, target, 0, "", user).await;
        found.extend(text.map(|text| format!("target.{}: {text}", target.name)));
    }
    found
}

/// Those whose turn the store's own user takes.
fn unprivileged(store: &StoreSettings) -> impl Iterator<Item = &Target> {
    store.targets.iter().filter(|target| !target.privileged)
}

async fn look(
    store: &StoreSettings,
    target: &Target,
    generation: u64,
    store_id: &str,
    user: Option<User>,
) -> Option<String> {
    let uid = user.map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid);
    // Root may do everything.
    if uid == 0 {
        return None;
    }
    let environment = steps::environment(target, generation, &store.path, store_id, &store.link_path(target));
    let found = obstacles(target.server_check(), &target.reload, user, &environment, target.check_timeout).await;
    let name = &target.name;
    (!found.is_empty()).then(|| {
        format!(
            "The user {uid}, as whom trustsync works on this store, {}. Its server may be proven now, but no \
             change of trust reaches it: it will refuse the vendor's next certificate. Set privileged = true under [target.{name}], \
             enable trustsync-apply@{name}.path, and change the paths in the server's configuration (trustsync \
             snippet {name}); or run trustsync as a user who may.",
            found.join("; and it ")
        )
    })
}

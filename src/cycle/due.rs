//! What is due, by what a store remembers: its sources' next polls, its targets' next turns. Read from the disk each
//! time, since another process may have polled, reloaded or proven meanwhile.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use crate::settings::resolved::{Settings, Store, Target};
use crate::store::contents;
use crate::trust::plan::schedule::Schedule;
use crate::trust::records::state::State;
use crate::trust::values::timestamp::Timestamp;

/// When a source's stores want it asked, read anew only where a state was written since: to ask costs no more than
/// that.
#[derive(Debug, Default)]
pub struct PollDue(BTreeMap<String, Due>);

/// What was found in a state, and when.
#[derive(Debug, Clone, Copy)]
struct Due {
    stamp: Option<StateStamp>,
    due: Timestamp,
    looked: Timestamp,
}

impl PollDue {
    /// When this store wants the source asked.
    pub fn of(&mut self, settings: &Settings, store: &Store, source: &str, now: Timestamp) -> Timestamp {
        let stamp = state_stamp(store);
        match self.0.get_mut(&store.name) {
            // What a clock that was set back since makes of it, only the state can tell.
            Some(known) if known.stamp == stamp && stamp.is_some() && now >= known.looked => {
                known.looked = now;
                known.due
            }
            _ => {
                let due = poll_due(settings, store, source, now);
                self.0.insert(store.name.clone(), Due { stamp, due, looked: now });
                due
            }
        }
    }
}

/// When this store wants the source asked.
#[must_use]
fn poll_due(settings: &Settings, store: &Store, source: &str, now: Timestamp) -> Timestamp {
    let state = contents::state_of(&store.path);
    let known = state.as_ref().and_then(|state| state.sources.get(source));
    known.map_or(now, |known| settings.schedule.due(known.last_attempt, known.next_due, now))
}

/// When the first of the store's targets is due.
#[must_use]
pub fn turns_due(settings: &Settings, store: &Store, now: Timestamp) -> Timestamp {
    let latest = now.plus(settings.schedule.proof_interval);
    let Some(state) = contents::state_of(&store.path).filter(|state| state.generation > 0) else { return latest };
    let due = store.targets.iter().map(|target| turn_due(&state, target, &settings.schedule, now));
    due.min().unwrap_or(latest).min(latest)
}

/// When a target's turn is due: at once where it was never reloaded for the newest generation.
pub fn turn_due(state: &State, target: &Target, schedule: &Schedule, now: Timestamp) -> Timestamp {
    let Some(known) = state.targets.get(&target.name) else { return now };
    if known.owed.is_none() && known.acknowledged != Some(state.generation) {
        return now;
    }
    schedule.turn_due(known.last_turn, known.owed.as_ref().map(|_| known.tries), now)
}

/// Tells one writing of a store's state from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateStamp(u64, i64, i64);

/// The state's stamp as it stands on disk; `None` where there is none.
#[must_use]
pub fn state_stamp(store: &Store) -> Option<StateStamp> {
    // Each writing is another file, under the same name.
    let found = std::fs::symlink_metadata(store.path.join(contents::STATE)).ok()?;
    Some(StateStamp(found.ino(), found.mtime(), found.mtime_nsec()))
}

/// Whether nothing was ever published there.
#[must_use]
pub fn is_empty(store: &Store) -> bool {
    contents::state_of(&store.path).is_none_or(|state| state.generation == 0)
}

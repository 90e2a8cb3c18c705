//! Sees at once when somebody touches the configuration or a store. Only a hint: what it means is decided by reading,
//! and a timer reads too, so that nothing depends on it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use std::time::{Duration, Instant};

use notify::event::EventKind;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::store::contents::STATE;

/// What in a store changes by our own doing in every cycle, and is judged in each anyway.
const OWN: [&str; 4] = ["lock", STATE, "evidence.jsonl", "crl"];

/// How long we wait until the kernel watches.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who is notified of what.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    is_store: bool,
    changed: Arc<Notify>,
    /// Is notified of a new state, which operators' commands write.
    written: Option<Arc<Notify>>,
}

/// The watcher, if the system has one left for us. Clones share it.
#[derive(Clone)]
pub struct Watch(Option<Arc<Watching>>);

struct Watching {
    watcher: Mutex<RecommendedWatcher>,
    places: Arc<Mutex<Vec<Place>>>,
}

impl Watch {
    /// Starts watching nothing yet. Without it, the timer is all there is: said once.
    #[must_use]
    pub fn start() -> Self {
        let places: Arc<Mutex<Vec<Place>>> = Arc::default();
        let known = Arc::clone(&places);
        let made = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = event {
                let places = known.lock().unwrap_or_else(PoisonError::into_inner);
                places.iter().for_each(|place| place.tell(&event));
            }
        });
        match made {
            Ok(watcher) => Self(Some(Arc::new(Watching { watcher: Mutex::new(watcher), places }))),
            Err(error) => {
                say_blind(Path::new("/"), &error);
                Self(None)
            }
        }
    }

    /// Tells of any change among the files beside the configuration: what an editor, a package or Kubernetes' `..data`
    /// swap does is seen in the folder, not in the file.
    pub fn configuration(&self, file: &Path, changed: &Arc<Notify>) {
        let folder = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // What changes before the kernel watches is found at the next beat.
        drop(self.add(folder, false, changed, None));
    }

    /// Tells of changes in a store that we do not make in every cycle, and of each new state. Called again, it takes in
    /// new directories. When it returns, the kernel watches, or cannot for now.
    pub async fn store(&self, root: &Path, changed: &Arc<Notify>, written: &Arc<Notify>) {
        if let Some(set) = self.add(root, true, changed, Some(written)) {
            let _ = timeout(PATIENCE, set).await;
        }
    }

    fn add(
        &self,
        path: &Path,
        is_store: bool,
        changed: &Arc<Notify>,
        written: Option<&Arc<Notify>>,
    ) -> Option<JoinHandle<()>> {
        let watching = self.0.as_ref()?;
        // Events have the path that was given; one that a symlink leads to would never be recognised.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let place = Place { path: path.clone(), is_store, changed: Arc::clone(changed), written: written.cloned() };
        let mut places = watching.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|known| known.path != path || known.is_store != is_store);
        places.push(place);
        // The callback takes this lock too, on the watcher's own thread, which answers `watch`.
        drop(places);
        let mode = if is_store { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let watching = Arc::clone(watching);
        let changed = Arc::clone(changed);
        let begun = Instant::now();
        // The watcher's thread takes this in between two events, and so never, in a folder where somebody writes
        // without a pause: that must not hold us up. A call that comes while it waits is made again after the next
        // cycle.
        Some(tokio::task::spawn_blocking(move || {
            let Ok(mut watcher) = watching.watcher.try_lock() else { return };
            if let Err(error) = watcher.watch(&path, mode) {
                say_blind(&path, &error);
            } else if begun.elapsed() >= PATIENCE {
                // Nobody waited for it: what was changed meanwhile is looked for now.
                changed.notify_one();
            }
        }))
    }
}

/// Once a process: where there are too few watches for one folder, there are too few for all.
fn say_blind(path: &Path, error: &notify::Error) {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        log_line!(
            WatchUnavailable,
            path = %path.display(),
            %error,
            "changes cannot be seen at once; the timers go on and find them. If the limit of inotify is reached, raise \
             fs.inotify.max_user_watches or fs.inotify.max_user_instances"
        );
    });
}

impl Place {
    fn tell(&self, event: &Event) {
        if self.concerns(event) {
            self.changed.notify_one();
        }
        let state = self.path.join(STATE);
        if let Some(written) = self.written.as_ref().filter(|_| event.paths.contains(&state)) {
            written.notify_one();
        }
    }

    fn concerns(&self, event: &Event) -> bool {
        // Who only reads changes nothing.
        !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| self.has(path))
    }

    fn has(&self, path: &Path) -> bool {
        let Ok(beneath) = path.strip_prefix(&self.path) else { return false };
        if !self.is_store {
            // A store may stand in the same folder: what happens within it is its own matter.
            return beneath.iter().count() <= 1;
        }
        let first = beneath.iter().next().and_then(|part| part.to_str()).unwrap_or_default();
        let name = first.strip_prefix('.').and_then(|name| name.strip_suffix(".new")).unwrap_or(first);
        !OWN.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_cycle_writes_is_no_hint_and_what_readers_read_is_one() {
        let place = Place { path: "/s".into(), is_store: true, changed: Arc::default(), written: None };
        for own in ["/s/lock", "/s/state.json", "/s/.state.json.new", "/s/evidence.jsonl", "/s/crl/x", "/elsewhere"] {
            assert!(!place.has(Path::new(own)), "{own}");
        }
        let configuration = Place { is_store: false, ..place.clone() };
        assert!(configuration.has(Path::new("/s/config.toml")) && configuration.has(Path::new("/s/..data")));
        assert!(!configuration.has(Path::new("/s/store/state.json")));
        for other in ["/s", "/s/current", "/s/generations/000001/leaves.pem", "/s/target/nginx", "/s/stranger"] {
            assert!(place.has(Path::new(other)), "{other}");
        }
    }
}

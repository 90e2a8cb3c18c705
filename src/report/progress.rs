//! What each part of the daemon promised to have done, and by when. The watchdog is fed, and `/healthz` says yes, only
//! as long as every promise is kept: a loop that turns without getting anywhere is found out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The promises that stand. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<BTreeMap<String, Promise>>>);

#[derive(Debug, Clone, Copy)]
struct Promise {
    doing: &'static str,
    by: Instant,
}

impl Progress {
    /// `who` will be done with `doing` within this time, or promise anew.
    pub fn promise(&self, who: &str, doing: &'static str, within: Duration) {
        let now = Instant::now();
        // A promise beyond the clock's end is none.
        let Some(by) = now.checked_add(within) else { return self.release(who) };
        self.promises().insert(who.to_owned(), Promise { doing, by });
    }

    /// `who` waits for somebody who has promised, or is done.
    pub fn release(&self, who: &str) {
        self.promises().remove(who);
    }

    /// Those that have not kept a promise, as text; nothing while all goes on.
    #[must_use]
    pub fn stuck(&self) -> Option<String> {
        let now = Instant::now();
        let promises = self.promises();
        let late = promises.iter().filter(|(_, promise)| promise.by < now);
        let late: Vec<String> = late
            .map(|(who, promise)| {
                let by = now.saturating_duration_since(promise.by).as_secs();
                format!("{who} ({}) is {by} s late", promise.doing)
            })
            .collect();
        (!late.is_empty()).then(|| late.join("; "))
    }

    fn promises(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Promise>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_promise_that_is_not_kept_is_named_until_it_is() {
        let progress = Progress::default();
        progress.promise("source us", "polling", Duration::from_secs(60));
        progress.promise("store main", "waiting", Duration::from_secs(600));
        assert_eq!(progress.stuck(), None);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(progress.stuck().as_deref(), Some("source us (polling) is 30 s late"));
        progress.promise("source us", "waiting", Duration::from_secs(60));
        assert_eq!(progress.stuck(), None);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert!(progress.stuck().is_some_and(|who| who.contains("source us") && who.contains("store main")));
        progress.release("source us");
        progress.release("store main");
        assert_eq!(progress.stuck(), None);
    }
}

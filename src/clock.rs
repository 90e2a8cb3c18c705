//! The one seam through which time enters: everything that needs to know what time it is is handed a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use crate::trust::values::timestamp::Timestamp;

/// Tells the time. The daemon and the one-shot use [`SystemClock`]; the demo, the simulator and the tests a
/// [`SimulatedClock`].
pub trait Clock: Send + Sync {
    /// The present moment, in whole seconds.
    fn now(&self) -> Timestamp;

    /// The earliest moment that it can rightly show.
    fn earliest(&self) -> Timestamp;
}

/// Written with each release: no machine's clock is right that shows an earlier time. 2026-11-25T00:00:00Z.
pub const RELEASED: Timestamp = Timestamp::from_unix(1_795_564_800);

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Timestamp::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
            Err(before) => {
                Timestamp::from_unix(i64::try_from(before.duration().as_secs()).map_or(i64::MIN, i64::saturating_neg))
            }
        }
    }

    fn earliest(&self) -> Timestamp {
        RELEASED
    }
}

/// A clock that stands still until it is set; clones share the hand.
#[derive(Debug, Clone)]
pub struct SimulatedClock(Arc<AtomicI64>);

impl SimulatedClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.unix())))
    }

    /// Moves the hand, forward or backward.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.unix(), Ordering::SeqCst);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.0.load(Ordering::SeqCst))
    }

    /// A story may be set in any time.
    fn earliest(&self) -> Timestamp {
        Timestamp::from_unix(i64::MIN)
    }
}

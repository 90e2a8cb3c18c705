//! Whether this machine's clock can be believed. What the clock alone would end or remove waits until it can: a wrong
//! clock may cost an addition, which comes back when the clock is right, but never trust.

use std::time::Duration;

use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::values::timestamp::Timestamp;

/// How far the vendor's clock may be from ours, and how far ours may have been set back.
pub const CLOCKS_AGREE_WITHIN: Duration = Duration::from_secs(300);

/// After this long without an answer from the vendor, nothing vouches for our clock: however far it jumps, it ends
/// things by no more than this too early.
const VOUCHED_FOR: Duration = Duration::from_secs(3 * 3_600);

/// What is known of earlier times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KnownTimes {
    /// The latest moment that the store remembers: a poll, a commit, a turn.
    pub latest: Option<Timestamp>,
    /// When the vendor's clock was last seen to agree with ours.
    pub agreed: Option<Timestamp>,
    /// The vendor's clock does not agree with ours, by the latest answer of every source that showed it.
    pub disagrees: bool,
}

/// Whether the clock that shows `now`, and can rightly show nothing before `earliest`, is to be doubted; with an alarm
/// where a person should look at it.
#[must_use]
pub fn doubt(now: Timestamp, earliest: Timestamp, known: KnownTimes, store: &str) -> (bool, Option<Finding>) {
    let alarm = |what: String| {
        let text = format!(
            "{what} Nothing is removed or ended by the clock alone until it is right. Look at this machine's time \
             synchronisation."
        );
        (true, Some(Finding::new(Event::ClockImplausible, Subject::store(store), text)))
    };
    if now < earliest {
        return alarm(format!("This machine's clock shows {now}, which is before this version was made."));
    }
    if let Some(latest) = known.latest.filter(|latest| latest.since(now) > CLOCKS_AGREE_WITHIN) {
        return alarm(format!("This machine's clock shows {now}, but the store was already at work on {latest}."));
    }
    let vouched_for = known.agreed.is_some_and(|agreed| now.since(agreed) <= VOUCHED_FOR);
    // Clocks that disagree have an alarm of their own, and so does a silent vendor.
    (known.disagrees || !vouched_for, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const RELEASED: Timestamp = Timestamp::from_unix(1_795_564_800);

    #[test]
    fn a_clock_before_the_release_or_before_what_the_store_did_is_an_alarm() {
        let now = RELEASED.plus(HOUR);
        assert_eq!(doubt(now, RELEASED, KnownTimes::default(), "main"), (true, None), "nobody has vouched for it yet");
        let (doubted, alarm) = doubt(RELEASED.minus(HOUR), RELEASED, KnownTimes::default(), "main");
        assert!(doubted && alarm.is_some_and(|alarm| alarm.text.contains("before this version")));
        let known = KnownTimes { latest: Some(now.plus(HOUR)), ..KnownTimes::default() };
        let (doubted, alarm) = doubt(now, RELEASED, known, "main");
        assert!(doubted && alarm.is_some_and(|alarm| alarm.text.contains(&now.plus(HOUR).to_string())));
        let known =
            KnownTimes { latest: Some(now.plus(Duration::from_secs(200))), agreed: Some(now), disagrees: false };
        assert_eq!(doubt(now, RELEASED, known, "main"), (false, None), "clocks are corrected by a little all the time");
    }

    #[test]
    fn a_clock_that_nobody_vouches_for_is_doubted_without_an_alarm_of_its_own() {
        let now = RELEASED.plus(HOUR * 24 * 365);
        let agreed = |ago| KnownTimes { agreed: Some(now.minus(ago)), latest: Some(now.minus(ago)), disagrees: false };
        assert_eq!(doubt(now, RELEASED, agreed(HOUR * 2), "main"), (false, None));
        assert_eq!(doubt(now, RELEASED, agreed(HOUR * 4), "main"), (true, None));
        assert_eq!(doubt(now, RELEASED, KnownTimes { disagrees: true, ..agreed(HOUR) }, "main"), (true, None));
    }
}

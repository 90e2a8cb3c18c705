//! When a fleet asks, and when one instance asks whose clock is set: the schedule, simulated. Pure; no clock, no network.

use std::time::Duration;

use proptest::prelude::*;
use trustsync::trust::plan::schedule::{Polled, Schedule};
use trustsync::trust::values::timestamp::Timestamp;

const INSTANCES: usize = 100_000;
const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;

/// SplitMix64, in 0..1.
struct Jitter(u64);

impl Jitter {
    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

/// How the fleet was doing before the simulation begins.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Not there yet: all start at once, each with an empty store.
    Nothing,
    /// Rolled out at once, and at work for this long.
    AtWorkFor(f64),
}

/// Polls in each minute, from the beginning for `length` seconds. The vendor is out of order from `down` to `up`.
fn polls(before: Before, (down, up): (f64, f64), length: f64) -> Vec<u32> {
    let schedule = Schedule::default();
    let mut jitter = Jitter(11);
    let warm = match before {
        Before::Nothing => 0.0,
        Before::AtWorkFor(long) => long,
    };
    let mut minutes = vec![0_u32; (length / MINUTE) as usize];
    let last = minutes.len() - 1;
    for _ in 0..INSTANCES {
        let (mut at, mut failures, mut first) = (-warm, 0, true);
        while at < length {
            if at >= 0.0 {
                let minute = ((at / MINUTE) as usize).min(last);
                minutes[minute] += 1;
            }
            let polled = if (down..up).contains(&at) {
                failures += 1;
                Polled::Failed { failures, retry_after: None }
            } else {
                failures = 0;
                Polled::Successfully { first: std::mem::take(&mut first), in_window: false }
            };
            at += schedule.wait_after(polled, jitter.draw()).as_secs_f64();
        }
    }
    minutes
}

/// The quietest and the busiest of these minutes, in parts of the even rate: everybody once an interval.
fn extremes(minutes: &[u32]) -> (f64, f64) {
    let even = INSTANCES as f64 * MINUTE / HOUR;
    let least = minutes.iter().min().unwrap();
    let most = minutes.iter().max().unwrap();
    (f64::from(*least) / even, f64::from(*most) / even)
}

fn shown(what: &str, minutes: &[u32]) -> (f64, f64) {
    let (least, most) = extremes(minutes);
    println!(
        "{what}: {least:.2} to {most:.2} of the even rate ({:.0} polls a minute)",
        INSTANCES as f64 * MINUTE / HOUR
    );
    (least, most)
}

#[test]
fn a_fleet_that_is_rolled_out_at_once_knocks_evenly_from_its_second_poll_on() {
    let minutes = polls(Before::Nothing, (0.0, 0.0), 12.0 * HOUR);
    // An empty store cannot wait: each asks at once. That is the contract, and the one burst.
    println!("rolled out at once: {} polls in the first minute, {} in the second", minutes[0], minutes[1]);
    assert_eq!(minutes[0], u32::try_from(INSTANCES).unwrap());
    assert!(f64::from(minutes[1]) < 0.05 * INSTANCES as f64);
    let (least, most) = shown("from the third minute on, for 12 hours", &minutes[2..]);
    assert!(least > 0.88 && most < 1.12);
}

#[test]
fn a_fleet_at_work_knocks_evenly() {
    let (least, most) =
        shown("after four days, for a day", &polls(Before::AtWorkFor(4.0 * 24.0 * HOUR), (0.0, 0.0), 24.0 * HOUR));
    assert!(least > 0.88 && most < 1.12);
}

#[test]
fn after_an_outage_of_the_vendor_nobody_comes_in_a_herd() {
    for (what, long, during, at_once, later) in [
        ("10 minutes", 10.0 * MINUTE, 6.0, 5.0, 1.5),
        ("5 hours", 5.0 * HOUR, 8.5, 1.3, 1.5),
        ("3 days", 72.0 * HOUR, 8.5, 1.3, 1.5),
    ] {
        let begin = 2.0 * HOUR;
        let minutes = polls(Before::AtWorkFor(48.0 * HOUR), (begin, begin + long), begin + long + 8.0 * HOUR);
        let minute = |at: f64| (at / MINUTE) as usize;
        let (begins, ends) = (minute(begin), minute(begin + long));
        let (_, most) = shown(&format!("during an outage of {what}"), &minutes[begins..ends]);
        assert!(most < during);
        let (least, most) = shown(&format!("the hour after an outage of {what}"), &minutes[ends..ends + 60]);
        assert!(least > 0.6 && most < at_once);
        let (least, most) = shown(&format!("hours 2 to 8 after an outage of {what}"), &minutes[ends + 60..]);
        assert!(least > 0.6 && most < later);
    }
}

// --- one instance, whose clock is set ---

/// What happens between two looks at the clock, a minute apart as the daemon's beat.
#[derive(Debug, Clone, Copy)]
enum Beat {
    Passes,
    /// Somebody sets the clock by so many seconds; or the machine slept, which is the same.
    ClockIsSet(i64),
}

fn beats() -> impl Strategy<Value = Vec<Beat>> {
    let year = 366 * 86_400_i64;
    let jump =
        prop_oneof![-3_600..3_600_i64, -86_400 * 40..86_400 * 40_i64, -20 * year..20 * year, Just(60), Just(-60)];
    let beat = prop_oneof![60 => Just(Beat::Passes), 1 => jump.prop_map(Beat::ClockIsSet)];
    prop::collection::vec(beat, 1..3_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_the_clock_is_set_polls_neither_stall_nor_storm(
        beats in beats(),
        chances in prop::collection::vec(0.0..1.0_f64, 1..40),
        failing in prop::collection::vec(any::<bool>(), 1..40),
        retry_after in prop::option::of(0..u64::MAX),
    ) {
        let schedule = Schedule::default();
        // Seconds that really pass, and what the clock shows.
        let (mut real, mut offset, mut set_back) = (0_i64, 1_800_000_000_i64, 0_i64);
        let (mut last, mut next) = (None, None);
        let (mut failures, mut polled_at, mut allowed) = (0_u32, Vec::new(), 1_usize);
        for beat in beats {
            match beat {
                Beat::Passes => real += 60,
                Beat::ClockIsSet(by) => {
                    offset += by;
                    // To before the last time: noticed at once. By less than that: so much longer it takes.
                    set_back += (-by).max(0) * i64::from(last.is_some_and(|last| last <= Timestamp::from_unix(real + offset)));
                    // One extra poll may come of it, and as many as the time that seems to have passed never.
                    allowed += 1;
                }
            }
            let now = Timestamp::from_unix(real + offset);
            if schedule.due(last, next, now) > now {
                continue;
            }
            let at = polled_at.len();
            let polled = if failing[at % failing.len()] {
                failures += 1;
                Polled::Failed { failures, retry_after: retry_after.map(Duration::from_secs) }
            } else {
                failures = 0;
                Polled::Successfully { first: last.is_none(), in_window: at % 2 == 0 }
            };
            let wait = schedule.wait_after(polled, chances[at % chances.len()]);
            (last, next) = (Some(now), Some(now.plus(wait)));
            // By the clock of the wall, the next one is due after `wait`; the shortest wait is that of the first failure.
            polled_at.push((real, wait, std::mem::take(&mut set_back)));
        }
        // No stall: whatever the clock shows, the vendor is asked again within the longest wait there is, twice over.
        let longest = (6 + 2 + 2) * 3_600 + 120;
        let mut gaps: Vec<i64> = polled_at.windows(2).map(|pair| pair[1].0 - pair[0].0 - pair[1].2).collect();
        gaps.extend(polled_at.last().map(|(at, ..)| real - at - set_back));
        prop_assert!(gaps.iter().all(|gap| *gap <= longest), "{gaps:?}");
        // No storm: a poll comes no sooner than it was put off to, but for one that each setting of the clock may cause.
        let early = polled_at.windows(2).filter(|pair| {
            let waited = pair[1].0 - pair[0].0;
            waited < i64::try_from(pair[0].1.as_secs()).unwrap()
        });
        prop_assert!(early.count() < allowed, "{polled_at:?}");
    }

    #[test]
    fn however_the_clock_is_set_turns_neither_stall_nor_storm(
        beats in beats(),
        owed in prop::collection::vec(any::<bool>(), 1..40),
    ) {
        let schedule = Schedule::default();
        let (mut real, mut offset, mut set_back) = (0_i64, 1_800_000_000_i64, 0_i64);
        let (mut last, mut tries, mut taken, mut allowed) = (None, None::<u32>, Vec::new(), 1_usize);
        for beat in beats {
            match beat {
                Beat::Passes => real += 60,
                Beat::ClockIsSet(by) => {
                    offset += by;
                    // To before the last time: noticed at once. By less than that: so much longer it takes.
                    set_back += (-by).max(0) * i64::from(last.is_some_and(|last| last <= Timestamp::from_unix(real + offset)));
                    allowed += 1;
                }
            }
            let now = Timestamp::from_unix(real + offset);
            if schedule.turn_due(last, tries, now) > now {
                continue;
            }
            tries = owed[taken.len() % owed.len()].then(|| tries.unwrap_or(0) + 1);
            let wait = tries.map_or(schedule.proof_interval, |tries| schedule.wait_for_try(tries));
            last = Some(now);
            taken.push((real, wait, std::mem::take(&mut set_back)));
        }
        let longest = i64::try_from(schedule.proof_interval.as_secs()).unwrap() * 2 + 120;
        let mut gaps: Vec<i64> = taken.windows(2).map(|pair| pair[1].0 - pair[0].0 - pair[1].2).collect();
        gaps.extend(taken.last().map(|(at, ..)| real - at - set_back));
        prop_assert!(gaps.iter().all(|gap| *gap <= longest), "{gaps:?}");
        let early = taken.windows(2).filter(|pair| pair[1].0 - pair[0].0 < i64::try_from(pair[0].1.as_secs()).unwrap());
        prop_assert!(early.count() < allowed, "{taken:?}");
    }
}

#[test]
fn no_jitter_and_all_of_it_are_waits_that_can_be_kept() {
    for jitter in [0.0, 0.2, 1.0] {
        let schedule = Schedule { jitter, ..Schedule::default() };
        for step in 0..=100 {
            for first in [true, false] {
                let wait =
                    schedule.wait_after(Polled::Successfully { first, in_window: false }, f64::from(step) / 100.0);
                assert!(wait <= schedule.interval.mul_f64(1.0 + jitter + 1e-9), "{jitter} {step} {wait:?}");
            }
        }
    }
}

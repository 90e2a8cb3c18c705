//! The planner's promises under any history: leaves of a real pool, flapping answers, failing listings, clocks that
//! step, holds and denials. Every answer is interpreted and verified for real.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use support::leaves::*;
use trustsync::trust::plan::set::DenialReason;
use trustsync::trust::values::slot::{Authority, SlotId};
use trustsync::trust::values::timestamp::Timestamp;

/// Valid leaves first, then those that policy refuses at any time.
static POOL: LazyLock<Vec<Leaf>> = LazyLock::new(|| {
    vec![
        leaf(-300, 30),
        leaf(-200, 60),
        leaf(-100, 120),
        leaf(-50, 300),
        leaf(-20, 400),
        refused_leaf(-100, 300),
        named_leaf("stranger.example.com", -100, 300),
        named_leaf("stranger.example.com", -300, 20),
    ]
});
const SOUND: usize = 5;

#[derive(Debug, Clone)]
struct Event {
    /// Hours since the event before.
    hours: u32,
    /// How far our clock is off, in hours. The vendor's `Date` then disagrees.
    skew: i32,
    current: Vec<usize>,
    upcoming: Vec<usize>,
    failure: Failure,
}

#[derive(Debug, Clone, PartialEq)]
enum Failure {
    None,
    Unfiltered,
    Upcoming,
    Silent,
    Date,
    UnknownAuthority,
    Deny(usize),
    Hold(u16),
}

impl Event {
    fn answer(&self) -> Answer {
        let of = |listed: &[usize]| listed.iter().map(|at| &POOL[*at]).collect::<Vec<_>>();
        let answer = Answer::of(&of(&self.current), &of(&self.upcoming));
        let answer = if self.skew == 0 { answer } else { answer.with_another_date() };
        match self.failure {
            Failure::Unfiltered => answer.without_unfiltered(),
            Failure::Upcoming => answer.without_upcoming(),
            Failure::Silent => answer.without_unfiltered().without_upcoming(),
            Failure::Date => answer.with_another_date(),
            Failure::UnknownAuthority => answer.and(entity("Entrust", "Current", "")),
            Failure::None | Failure::Deny(_) | Failure::Hold(_) => answer,
        }
    }

    fn lists(&self, leaf: usize) -> bool {
        let current = self.failure != Failure::Unfiltered && self.current.contains(&leaf);
        let upcoming = self.failure != Failure::Upcoming && self.upcoming.contains(&leaf);
        self.failure != Failure::Silent && (current || upcoming)
    }
}

fn events(denials: bool, skewed: bool) -> impl Strategy<Value = Vec<Event>> {
    let failure = prop_oneof![
        12 => Just(Failure::None),
        1 => Just(Failure::Unfiltered),
        1 => Just(Failure::Upcoming),
        1 => Just(Failure::Silent),
        1 => Just(Failure::Date),
        1 => Just(Failure::UnknownAuthority),
        1 => (0..POOL.len()).prop_map(move |at| if denials { Failure::Deny(at) } else { Failure::None }),
        1 => (0..500_u16).prop_map(Failure::Hold),
    ];
    // Mostly sound answers, so that histories get somewhere.
    let listed = || prop_oneof![6 => vec(0..SOUND, 0..3), 1 => vec(0..POOL.len(), 0..4)];
    let skew = prop_oneof![5 => Just(0), 1 => if skewed { -9_000..9_000 } else { 0..1 }];
    let event = (0..500_u32, skew, listed(), listed(), failure)
        .prop_map(|(hours, skew, current, upcoming, failure)| Event { hours, skew, current, upcoming, failure });
    vec(event, 1..20)
}

/// The true time, and what our clock says.
#[derive(Debug, Clone, Copy)]
struct Time {
    true_time: Timestamp,
    clock: Timestamp,
}

impl Time {
    fn after(self, event: &Event) -> Self {
        let later = |at: Timestamp, hours: i64| Timestamp::from_unix(at.unix() + hours * 3_600);
        let true_time = later(self.true_time, i64::from(event.hours));
        Self { true_time, clock: later(true_time, i64::from(event.skew)) }
    }
}

const BEGIN: Time = Time { true_time: Timestamp::from_unix(PRESENT), clock: Timestamp::from_unix(PRESENT) };
/// 2026-06-01.
const PRESENT: i64 = 1_780_272_000;

/// Plays a history; `judge` sees the store before and after each poll.
fn play(
    store: &mut MemoryStore,
    events: &[Event],
    mut judge: impl FnMut(&MemoryStore, &MemoryStore, &Event, Time) -> Result<(), TestCaseError>,
) -> Result<Time, TestCaseError> {
    assert_eq!(BEGIN.clock, day(0));
    let mut time = BEGIN;
    for event in events {
        time = time.after(event);
        match event.failure {
            Failure::Deny(at) => store.deny(&POOL[at], DenialReason::Distrusted),
            Failure::Hold(hours) => store.hold_until(time.clock.plus(days(u64::from(hours) / 24))),
            _ => {}
        }
        let before = store.clone();
        store.poll(time.clock, &event.answer());
        judge(&before, store, event, time)?;
    }
    Ok(time)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_set_is_emptied_by_denial_alone(history in events(true, true)) {
        let mut store = MemoryStore::empty();
        play(&mut store, &history, |before, after, _, _| {
            if !before.set.is_empty() && after.set.is_empty() {
                let denied = before.pinned().iter().all(|pin| after.planner.denied.contains_key(pin));
                prop_assert!(denied, "{:?}", before.pinned());
            }
            Ok(())
        })?;
    }

    #[test]
    fn an_unexpired_leaf_never_leaves_before_its_grace(history in events(true, true)) {
        let mut store = MemoryStore::empty();
        let mut last_listed: BTreeMap<usize, Timestamp> = BTreeMap::new();
        play(&mut store, &history, |before, after, event, time| {
            let now = time.true_time;
            for (at, leaf) in POOL.iter().enumerate() {
                if event.lists(at) {
                    last_listed.insert(at, now);
                }
                let left = before.trusts(leaf) && !after.trusts(leaf);
                if left && !after.planner.denied.contains_key(&leaf.fingerprint) && leaf.certificate.facts().not_after >= now {
                    prop_assert!(now.since(last_listed[&at]) >= after.policy.grace, "{at} left at {now}");
                    prop_assert!(!event.lists(at));
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn the_same_answer_at_the_same_time_changes_nothing_more(history in events(true, true)) {
        let mut store = MemoryStore::empty();
        let now = play(&mut store, &history, |_, _, _, _| Ok(()))?.clock;
        let last = history.last().unwrap().answer();
        // Counters move with each answer, until those agree that can; the set then never does.
        for _ in 0..4 {
            store.poll(now, &last);
        }
        let before = store.clone();
        store.poll(now, &last);
        prop_assert_eq!(&before.set, &store.set);
        prop_assert_eq!(before.set.digest(), store.set.digest());
        prop_assert_eq!(before.generations, store.generations);
    }

    #[test]
    fn without_any_answer_nothing_changes_but_by_denial_and_the_clock(history in events(true, true)) {
        let mut store = MemoryStore::empty();
        let now = play(&mut store, &history, |_, _, _, _| Ok(()))?.clock;
        let before = store.clone();
        store.poll_each(now, &[("us", None)]);
        prop_assert_eq!(&before.set, &store.set);
        prop_assert_eq!(&before.planner, &store.planner);
    }

    #[test]
    fn what_policy_refuses_is_never_trusted(history in events(false, true)) {
        let mut store = MemoryStore::empty();
        play(&mut store, &history, |before, after, _, Time { clock: now, .. }| {
            for leaf in &POOL[SOUND..] {
                prop_assert!(!after.trusts(leaf));
            }
            for pin in after.pinned().difference(&before.pinned()) {
                let leaf = POOL.iter().find(|leaf| leaf.fingerprint == *pin).unwrap();
                let facts = leaf.certificate.facts();
                prop_assert!(facts.not_after >= now && facts.not_before <= now.plus(days(1)), "an expired one entered");
            }
            Ok(())
        })?;
    }

    #[test]
    fn what_is_denied_is_never_trusted_and_a_hold_lets_nothing_in(history in events(true, true)) {
        let mut store = MemoryStore::empty();
        play(&mut store, &history, |before, after, _, Time { clock: now, .. }| {
            for denied in after.planner.denied.keys() {
                prop_assert!(!after.set.pins.contains_key(denied));
                prop_assert!(after.set.denied.contains_key(denied));
            }
            if let Some(hold) = &after.planner.hold {
                prop_assert!(hold.until > now);
                prop_assert!(after.pinned().is_subset(&before.pinned()));
                let kept = before.pinned().into_iter().filter(|pin| !after.planner.denied.contains_key(pin)).collect::<BTreeSet<_>>();
                prop_assert_eq!(after.pinned(), kept);
            }
            Ok(())
        })?;
    }

    /// Whatever was heard, and in whatever order, a vendor that answers steadily in the end is what is trusted.
    #[test]
    fn any_history_converges_to_the_vendors_steady_answer(
        history in events(false, true), current in 3..SOUND, upcoming in proptest::option::of(0..SOUND)
    ) {
        let mut store = MemoryStore::empty();
        // The clock is right again, and no hold stands.
        let start = play(&mut store, &history, |_, _, _, _| Ok(()))?.true_time.unix();
        store.planner.hold = None;
        let lives = |leaf: &Leaf| start + 18 * 86_400 < leaf.certificate.facts().not_after.unix();
        // Whenever it ends, before Current or after it.
        let next = upcoming.filter(|next| *next != current).map(|next| &POOL[next]).filter(|next| lives(next));
        let steady = Answer::of(&[&POOL[current]], &next.into_iter().collect::<Vec<_>>());
        for at in 0..18 {
            store.poll(Timestamp::from_unix(start + at * 86_400), &steady);
        }
        let expected: BTreeSet<_> = fingerprints(std::iter::once(&POOL[current]).chain(next));
        if lives(&POOL[current]) {
            prop_assert_eq!(store.pinned(), expected);
            prop_assert_eq!(store.role(&POOL[current]), Some(trustsync::trust::plan::set::Role::Current));
            prop_assert!(next.is_none_or(|next| store.role(next) == Some(trustsync::trust::plan::set::Role::Upcoming)));
            // And then nothing moves any more.
            let generations = store.generations;
            store.poll(Timestamp::from_unix(start + 18 * 86_400), &steady);
            prop_assert_eq!(store.generations, generations);
        }
    }

    #[test]
    fn the_order_within_an_answer_is_none(history in events(false, true)) {
        let mut one = MemoryStore::empty();
        let mut other = MemoryStore::empty();
        let mut time = BEGIN;
        for event in &history {
            time = time.after(event);
            let now = time.clock;
            let answer = event.answer();
            let mut turned = answer.clone();
            for listing in [&mut turned.unfiltered, &mut turned.upcoming].into_iter().flatten() {
                listing.reverse();
            }
            one.poll(now, &answer);
            other.poll(now, &turned);
        }
        prop_assert_eq!(one.set, other.set);
        prop_assert_eq!(one.planner, other.planner);
    }

    #[test]
    fn slots_do_not_disturb_each_other(eu in events(false, false), us in events(false, false)) {
        let mut both = MemoryStore::new([digicert_slot("eu"), digicert_slot("us")]);
        let mut alone = [MemoryStore::new([digicert_slot("eu")]), MemoryStore::new([digicert_slot("us")])];
        for (at, (eu, us)) in eu.iter().zip(&us).enumerate() {
            let now = day(at as i64 * 3);
            let answers = [eu.answer(), us.answer()];
            both.poll_each(now, &[("eu", Some(&answers[0])), ("us", Some(&answers[1]))]);
            alone[0].poll(now, &answers[0]);
            alone[1].poll(now, &answers[1]);
        }
        for (name, alone) in ["eu", "us"].into_iter().zip(&alone) {
            let slot = SlotId::new(name, "us-east-1", Authority::DigiCert);
            prop_assert_eq!(both.planner.slots.get(&slot), alone.planner.slots.get(&slot));
        }
        let union: BTreeSet<_> = alone[0].pinned().union(&alone[1].pinned()).copied().collect();
        prop_assert_eq!(both.pinned(), union);
    }

    /// Any moment, any memory of a moment: a plan, and no panic.
    #[test]
    fn the_planner_is_total(moments in vec(any::<i64>(), 1..6), grace in any::<u64>(), history in events(true, true)) {
        let mut store = MemoryStore::empty();
        store.policy.grace = std::time::Duration::from_secs(grace);
        store.policy.window = std::time::Duration::MAX;
        play(&mut store, &history, |_, _, _, _| Ok(()))?;
        for (moment, event) in moments.iter().zip(history.iter().cycle()) {
            store.poll(Timestamp::from_unix(*moment), &event.answer());
        }
        store.slots.clear();
        for moment in moments {
            store.poll_each(Timestamp::from_unix(moment), &[]);
        }
    }
}

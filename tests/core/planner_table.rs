//! The planner by its table, cell by cell, and then by every sentence that stands below the table in the design. Nothing
//! here is a stand-in but the disk: each answer is interpreted, verified and planned as in a cycle.

use std::collections::BTreeSet;

use support::leaves::*;
use trustsync::exit::Exit;
use trustsync::genesys::wire::Entity;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::plan::set::{DenialReason, Role};
use trustsync::trust::records::manifest::Manifest;
use trustsync::trust::values::slot::{Authority, SlotId};
use trustsync::trust::values::timestamp::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Absent,
    Valid,
    Expired,
    Refused,
}

impl Is {
    const ALL: [Self; 4] = [Self::Absent, Self::Valid, Self::Expired, Self::Refused];

    /// A leaf of this kind that ends (or ended) on `end`, if it is to be valid.
    fn leaf(self, end: i64, ended: i64) -> Option<Leaf> {
        match self {
            Self::Absent => None,
            Self::Valid => Some(leaf(-30, end)),
            Self::Expired => Some(leaf(-300, ended)),
            Self::Refused => Some(refused_leaf(-30, end)),
        }
    }
}

#[test]
fn the_table_of_current_and_upcoming() {
    let old = leaf(-200, 50);
    for current_is in Is::ALL {
        for upcoming_is in Is::ALL {
            for has_store in [false, true] {
                let cell = format!("Current {current_is:?}, Upcoming {upcoming_is:?}, has a store: {has_store}");
                let current = current_is.leaf(100, -2);
                let upcoming = upcoming_is.leaf(300, -1);
                let mut store = if has_store { MemoryStore::trusting(&[&old], -1) } else { MemoryStore::empty() };
                let answer = Answer::of(&current.iter().collect::<Vec<_>>(), &upcoming.iter().collect::<Vec<_>>());

                let decided = store.poll(day(0), &answer);

                let mut expected = BTreeSet::new();
                if has_store {
                    expected.insert(old.fingerprint);
                }
                if current_is == Is::Valid {
                    expected.extend(current.iter().map(|leaf| leaf.fingerprint));
                }
                let opens = matches!(current_is, Is::Valid | Is::Expired) || has_store;
                if upcoming_is == Is::Valid && opens {
                    expected.extend(upcoming.iter().map(|leaf| leaf.fingerprint));
                }
                assert_eq!(store.pinned(), expected, "{cell}");

                let sound = current_is == Is::Valid && matches!(upcoming_is, Is::Absent | Is::Valid);
                assert_eq!(decided.exit, if sound { Exit::Done } else { Exit::Answer }, "{cell}");
                assert_eq!(decided.worst() == Some(Severity::Critical), !sound, "{cell}: {:?}", decided.findings);
                let clean = store.planner.slots.values().next().unwrap().last_clean == Some(day(0));
                assert_eq!(clean, sound, "{cell}");
            }
        }
    }
}

#[test]
fn an_expired_current_that_is_all_the_store_has_gives_way_to_upcoming_alone() {
    let current = leaf(-300, 10);
    let upcoming = leaf(-5, 300);
    let mut store = MemoryStore::trusting(&[&current], 0);
    let decided = store.poll(day(11), &Answer::of(&[&current], &[&upcoming]));
    assert_eq!(store.pinned(), fingerprints([&upcoming]));
    assert_eq!((decided.said("current_expired"), decided.exit), (Some(Severity::Critical), Exit::Answer));
}

#[test]
fn an_expired_strangers_leaf_listed_as_current_opens_nothing_to_upcoming() {
    let stranger = named_leaf("stranger.example.com", -300, -1);
    let upcoming = leaf(-5, 300);
    let mut store = MemoryStore::empty();
    let decided = store.poll(day(0), &Answer::of(&[&stranger], &[&upcoming]));
    assert!(store.set.is_empty());
    assert_eq!(decided.said("current_refused"), Some(Severity::Critical));
}

#[test]
fn an_unknown_status_or_type_is_skipped_and_the_answer_is_clean() {
    let current = leaf(-30, 300);
    let odd = leaf(-30, 200);
    for strange in [
        entity("DigiCert", "Retired", &odd.text),
        Entity { status: None, ..entity("DigiCert", "Current", &odd.text) },
        Entity { kind: Some("Server".to_owned()), ..entity("DigiCert", "Current", &odd.text) },
    ] {
        let mut store = MemoryStore::empty();
        let decided = store.poll(day(0), &Answer::of(&[&current], &[]).and(strange));
        assert_eq!(store.pinned(), fingerprints([&current]));
        assert_eq!((decided.said("entity_skipped"), decided.exit), (Some(Severity::Warning), Exit::Done));
        assert_eq!(store.planner.slots[&store.slots[0].slot].last_clean, Some(day(0)));
    }
}

#[test]
fn an_unknown_or_missing_authority_makes_the_answer_unclean_for_every_slot() {
    let current = leaf(-30, 300);
    let witness = genesys_leaf("Genesys", NAME, &[NAME], -30, 300);
    for authority in [Some("Entrust"), None] {
        let strange =
            Entity { signing_authority: authority.map(str::to_owned), ..entity("", "Current", &leaf(-30, 200).text) };
        let mut store = MemoryStore::new([digicert_slot("us"), genesys_slot("us")]);
        let answer = Answer::of(&[&current], &[]).and(entity("Genesys", "Current", &witness.text)).and(strange);
        let decided = store.poll(day(0), &answer);
        assert_eq!(decided.said("entity_of_unknown_authority"), Some(Severity::Warning));
        assert_eq!(store.pinned(), fingerprints([&current]), "additions enter");
        assert_eq!(store.set.name_rules.len(), 1, "additions enter");
        assert!(store.planner.slots.values().all(|slot| slot.last_clean.is_none()), "and nothing is clean");
    }
}

#[test]
fn if_a_listing_fails_the_others_additions_enter_and_nothing_is_clean() {
    let old = leaf(-200, 80);
    let upcoming = leaf(-5, 400);
    let mut store = MemoryStore::trusting(&[&old], 0);
    let decided = store.poll(day(1), &Answer::of(&[], &[&upcoming]).without_unfiltered());
    assert_eq!(store.pinned(), fingerprints([&old, &upcoming]));
    assert_eq!(store.role(&upcoming), Some(Role::Upcoming));
    assert_eq!(decided.exit, Exit::Source, "the failure is the cause, and nothing was refused");
    assert_eq!(decided.said("current_absent"), None, "nobody can say so: {:?}", decided.findings);

    let new = leaf(-1, 500);
    let decided = store.poll(day(2), &Answer::of(&[&new], &[]).without_upcoming());
    assert_eq!(store.pinned(), fingerprints([&old, &upcoming, &new]));
    assert_eq!(decided.exit, Exit::Source);
    assert_eq!(store.planner.slots[&store.slots[0].slot].last_clean, Some(day(0)));
    assert!(store.planner.slots[&store.slots[0].slot].entries.values().all(|entry| entry.absence.is_none()));
}

#[test]
fn on_an_empty_store_a_failed_listing_of_currents_lets_no_upcoming_in() {
    let upcoming = leaf(-5, 400);
    let mut store = MemoryStore::empty();
    let decided = store.poll(day(1), &Answer::of(&[], &[&upcoming]).without_unfiltered());
    assert!(store.set.is_empty());
    assert_eq!(decided.exit, Exit::Source);
}

#[test]
fn what_is_listed_as_current_and_as_upcoming_is_current() {
    let [current, other] = [leaf(-30, 60), leaf(-60, 30)];
    for (currents, upcoming) in [(vec![&current], &current), (vec![&current, &other], &other)] {
        let mut store = MemoryStore::empty();
        let decided = store.poll(day(0), &Answer::of(&currents, &[upcoming]));
        assert_eq!(store.pinned(), fingerprints(currents.iter().copied()));
        assert!(currents.iter().all(|leaf| store.role(leaf) == Some(Role::Current)));
        assert_eq!(decided.said("upcoming_is_no_successor"), Some(Severity::Warning));
        assert_eq!(decided.said("listing_disagreement"), Some(Severity::Note));
        assert_eq!(decided.said("upcoming_ends_early"), None, "it is no upcoming one");
        assert_eq!(decided.exit, Exit::Done);
    }
}

/// The vendor may present any that it has announced: left out, it would be an outage on that day.
mod an_upcoming_that_ends_before_current {
    use super::*;

    const ENDS_EARLY: &str = "upcoming_ends_early";

    #[test]
    fn enters_and_is_named() {
        let current = leaf(-30, 60);
        for has_store in [false, true] {
            for early in [leaf(-5, 25), leaf(-5, 59), leaf(-5, 60)] {
                let mut store = if has_store { MemoryStore::trusting(&[&current], 0) } else { MemoryStore::empty() };
                let decided = store.poll(day(1), &Answer::of(&[&current], &[&early]));
                assert_eq!(store.pinned(), fingerprints([&current, &early]), "has a store: {has_store}");
                assert_eq!((store.role(&current), store.role(&early)), (Some(Role::Current), Some(Role::Upcoming)));
                assert_eq!(decided.said(ENDS_EARLY), Some(Severity::Warning));
                let text = decided.text(ENDS_EARLY);
                assert!(text.contains(&day(60).to_string()) && text.contains(&early.fingerprint.short()), "{text}");
                assert_eq!(decided.exit, Exit::Done, "every entity was accepted: {:?}", decided.findings);
                let clean = store.planner.slots.values().next().unwrap().last_clean;
                assert_eq!(clean, Some(day(1)));
            }
        }
    }

    #[test]
    fn enters_whatever_else_the_table_says_of_current() {
        let early = leaf(-5, 25);
        let old = leaf(-200, 50);
        for (current, listing_came) in [(Some(refused_leaf(-30, 60)), true), (None, true), (None, false)] {
            let answer = Answer::of(&current.iter().collect::<Vec<_>>(), &[&early]);
            let answer = if listing_came { answer } else { answer.without_unfiltered() };
            let mut store = MemoryStore::trusting(&[&old], 0);
            store.poll(day(1), &answer);
            assert_eq!(store.pinned(), fingerprints([&old, &early]));
            // What a server runs with is better than Upcoming alone, whenever that ends.
            let mut store = MemoryStore::empty();
            store.poll(day(1), &answer);
            assert!(store.set.is_empty());
        }
    }

    #[test]
    fn covers_no_day_on_which_current_has_ended_so_that_another_is_missed() {
        let current = leaf(-300, 100);
        let early = leaf(-5, 99);
        for listed in [vec![], vec![&early]] {
            let mut store = MemoryStore::empty();
            let mut polled = |left: i64| {
                let decided = store.poll(day(100 - left), &Answer::of(&[&current], &listed));
                (decided.said("upcoming_missing"), decided.plan.in_window("us", days(90), day(100 - left)))
            };
            assert_eq!(polled(91), (None, false), "the window is Current's");
            assert_eq!(polled(90), (None, true));
            assert_eq!(polled(46), (None, true));
            assert_eq!(polled(45), (Some(Severity::Warning), true));
            assert_eq!(polled(14), (Some(Severity::Critical), true));
        }
        let mut store = MemoryStore::empty();
        let decided = store.poll(day(90), &Answer::of(&[&current], &[&early]));
        let text = decided.text("upcoming_missing");
        assert!(text.contains("no valid upcoming one was seen that ends later"), "{text}");
        assert_eq!(decided.said("upcoming_early"), None, "it succeeds nobody");
        // Nor where its listing does not come, and what is trusted is all that is known.
        let decided = store.poll(day(91), &Answer::of(&[&current], &[]).without_upcoming());
        assert_eq!(decided.said("upcoming_missing"), Some(Severity::Critical));
        assert_eq!(decided.said(ENDS_EARLY), Some(Severity::Warning), "it stands as it stood");

        // A later one beside it ends that alarm, and not the other.
        let later = leaf(-1, 400);
        let decided = store.poll(day(92), &Answer::of(&[&current], &[&early, &later]));
        assert_eq!((decided.said("upcoming_missing"), decided.said(ENDS_EARLY)), (None, Some(Severity::Warning)));
        assert!(!decided.text(ENDS_EARLY).contains(&later.fingerprint.short()));
        assert_eq!(store.pinned(), fingerprints([&current, &early, &later]));
    }

    #[test]
    fn is_current_once_the_vendor_presents_it_and_then_its_own_end_counts() {
        let [old, early] = [leaf(-300, 100), leaf(-5, 40)];
        let mut store = MemoryStore::empty();
        store.poll(day(0), &Answer::of(&[&old], &[&early]));
        assert!(store.trusts(&early), "before it is presented");
        let presented = Answer::of(&[&early], &[]);
        for decided in store.days(1..=3, &presented) {
            assert_eq!((decided.said(ENDS_EARLY), decided.exit), (None, Exit::Done));
            // 39 to 37 days of its own, of a life of 45.
            assert_eq!(decided.said("upcoming_missing"), None, "at most half its life before the end");
        }
        assert_eq!((store.role(&early), store.role(&old)), (Some(Role::Current), Some(Role::Retiring)));
        let decided = store.poll(day(18), &presented);
        assert_eq!(
            store.pinned(),
            fingerprints([&early]),
            "the old one has left after its grace, months before its end"
        );
        assert_eq!(decided.said("upcoming_missing"), Some(Severity::Warning));
        assert!(decided.plan.in_window("us", days(30), day(18)));
    }

    #[test]
    fn leaves_by_absence_and_by_expiry_like_every_other() {
        let [current, early] = [leaf(-30, 200), leaf(-5, 100)];
        let with = Answer::of(&[&current], &[&early]);
        let without = Answer::of(&[&current], &[]);
        let mut store = MemoryStore::empty();
        store.poll(day(0), &with);
        store.days(1..=3, &without);
        assert_eq!(store.role(&early), Some(Role::Retiring));
        store.days(4..=14, &without);
        assert!(store.trusts(&early), "in its grace");
        assert_eq!(store.poll(day(14), &without).said(ENDS_EARLY), None, "it is listed no more");
        store.poll(day(15), &without);
        assert_eq!(store.pinned(), fingerprints([&current]));

        let mut store = MemoryStore::empty();
        store.days(97..=100, &with);
        assert!(store.trusts(&early), "until its last day");
        let decided = store.poll(day(101), &with);
        assert_eq!(store.pinned(), fingerprints([&current]), "expired, though it is listed");
        assert_eq!((decided.said("upcoming_expired"), decided.said(ENDS_EARLY)), (Some(Severity::Critical), None));
    }

    #[test]
    fn is_kept_out_by_a_hold_and_by_a_denial_and_then_not_called_trusted() {
        let [current, early] = [leaf(-30, 200), leaf(-5, 100)];
        let answer = Answer::of(&[&current], &[&early]);
        let mut held = MemoryStore::trusting(&[&current], 0);
        held.hold_until(day(10));
        let decided = held.poll(day(1), &answer);
        assert_eq!((decided.said("addition_held_back"), decided.exit), (Some(Severity::Critical), Exit::Owed));
        let mut denying = MemoryStore::trusting(&[&current], 0);
        denying.deny(&early, DenialReason::Revoked);
        let denied = denying.poll(day(1), &answer);
        assert_eq!(denied.said("denied_certificate_listed"), Some(Severity::Critical));
        for (store, decided) in [(held, decided), (denying, denied)] {
            assert_eq!((store.pinned(), decided.said(ENDS_EARLY)), (fingerprints([&current]), None));
        }
    }

    #[test]
    fn makes_what_was_current_upcoming_where_the_vendor_says_so() {
        let [old, new] = [leaf(-200, 50), leaf(-5, 300)];
        let mut store = MemoryStore::trusting(&[&old], 0);
        for decided in store.days(1..=3, &Answer::of(&[&new], &[&old])) {
            assert_eq!((decided.said(ENDS_EARLY), decided.exit), (Some(Severity::Warning), Exit::Done));
        }
        assert_eq!((store.role(&old), store.role(&new)), (Some(Role::Upcoming), Some(Role::Current)));
    }

    /// Whoever bears the name is admitted there, listed or not.
    #[test]
    fn changes_nothing_of_a_name_rule() {
        let [witness, early] =
            [genesys_leaf("Genesys", NAME, &[NAME], -30, 300), genesys_leaf("Genesys", NAME, &[NAME], -1, 200)];
        let mut store = MemoryStore::new([genesys_slot("us")]);
        store.poll(day(0), &Answer::genesys(&[&witness]));
        let rules = store.set.name_rules.clone();
        let announced = entity("Genesys", "Upcoming", &early.text);
        let answer = Answer { upcoming: Some(vec![announced.clone()]), ..Answer::genesys(&[&witness]) };
        let decided = store.poll(day(1), &answer.and(announced));
        assert_eq!((&store.set.name_rules, store.generations), (&rules, 1));
        assert_eq!((decided.worst(), decided.exit), (None, Exit::Done), "{:?}", decided.findings);
    }
}

#[test]
fn a_role_changes_after_three_clean_answers_that_agree() {
    let old = leaf(-200, 80);
    let new = leaf(-5, 400);
    let before = Answer::of(&[&old], &[&new]);
    let after = Answer::of(&[&new], &[]);
    let mut store = MemoryStore::empty();
    store.poll(day(0), &before);
    let roles = |store: &MemoryStore| (store.role(&old).unwrap(), store.role(&new).unwrap());
    assert_eq!(roles(&store), (Role::Current, Role::Upcoming));
    // Two agree, the third flaps: counted anew.
    for answer in [&after, &after, &before, &after, &after] {
        store.poll(day(1), answer);
        assert_eq!(roles(&store), (Role::Current, Role::Upcoming));
    }
    // Unclean ones neither count nor reset.
    for unclean in
        [before.clone().without_upcoming(), after.clone().with_another_date(), after.clone().without_upcoming()]
    {
        store.poll(day(1), &unclean);
        assert_eq!(roles(&store), (Role::Current, Role::Upcoming));
    }
    let generations = store.generations;
    store.poll(day(1), &after);
    assert_eq!(roles(&store), (Role::Retiring, Role::Current));
    assert_eq!(store.generations, generations + 1);
}

#[test]
fn the_same_leaf_of_two_slots_is_one_line_with_the_first_of_its_roles() {
    let shared = leaf(-30, 400);
    let other = leaf(-200, 50);
    let mut store = MemoryStore::new([digicert_slot("eu"), digicert_slot("us")]);
    let as_upcoming = Answer::of(&[&other], &[&shared]);
    let as_current = Answer::of(&[&shared], &[]);
    store.poll_each(day(0), &[("eu", Some(&as_upcoming)), ("us", Some(&as_current))]);
    assert_eq!(store.pinned().len(), 2);
    assert_eq!(store.role(&shared), Some(Role::Current));
    assert_eq!(store.set.pins[&shared.fingerprint].roles.len(), 2);
    // "us" no longer lists it, "eu" still announces it: upcoming before retiring.
    let gone = Answer::of(&[&other], &[]);
    for at in 1..=3 {
        store.poll_each(day(at), &[("eu", Some(&as_upcoming)), ("us", Some(&gone))]);
    }
    let pin = &store.set.pins[&shared.fingerprint];
    assert_eq!(pin.roles.values().copied().collect::<BTreeSet<_>>(), [Role::Upcoming, Role::Retiring].into());
    assert_eq!(pin.role(), Role::Upcoming);
}

#[test]
fn a_failing_slot_contributes_what_it_had_and_blocks_no_other() {
    let eu = leaf(-30, 300);
    let us = leaf(-30, 300);
    let renewed = leaf(-1, 600);
    let mut store = MemoryStore::new([digicert_slot("eu"), digicert_slot("us")]);
    store.poll_each(day(0), &[("eu", Some(&Answer::of(&[&eu], &[]))), ("us", Some(&Answer::of(&[&us], &[])))]);
    let planner = store.planner.slots[&SlotId::new("eu", "us-east-1", Authority::DigiCert)].clone();
    for at in 1..40 {
        let answer = Answer::of(&[&renewed], &[]);
        let decided = store.poll_each(day(at), &[("eu", None), ("us", Some(&answer))]);
        assert_eq!(decided.exit, Exit::Source);
    }
    assert_eq!(store.pinned(), fingerprints([&eu, &renewed]), "us went through its rotation, eu stands");
    assert_eq!(store.planner.slots[&SlotId::new("eu", "us-east-1", Authority::DigiCert)], planner);
    // Refused is no other than silent.
    let refused = refused_leaf(-1, 300);
    let answers = [Answer::of(&[&refused], &[]), Answer::of(&[&renewed], &[])];
    let decided = store.poll_each(day(40), &[("eu", Some(&answers[0])), ("us", Some(&answers[1]))]);
    assert_eq!(store.pinned(), fingerprints([&eu, &renewed]));
    assert_eq!(decided.exit, Exit::Answer);
}

#[test]
fn a_slot_that_left_the_configuration_retires_by_the_clock_alone() {
    let eu = leaf(-30, 300);
    let us = leaf(-30, 300);
    let mut store = MemoryStore::new([digicert_slot("eu"), digicert_slot("us")]);
    let answer = Answer::of(&[&us], &[]);
    store.poll_each(day(0), &[("eu", Some(&Answer::of(&[&eu], &[]))), ("us", Some(&answer))]);
    let removed = store.slots.remove(0);

    // A rehearsal announces the day.
    let rehearsed = store.rehearse(day(1), &[("us", Some(&answer))]);
    assert!(rehearsed.text("slot_retiring").contains(&day(15).to_string()), "{:?}", rehearsed.findings);

    store.poll(day(1), &answer);
    assert_eq!(store.role(&eu), Some(Role::Retiring));
    // Even with no source answering at all.
    store.poll_each(day(14), &[("us", None)]);
    assert!(store.trusts(&eu));
    let decided = store.poll_each(day(15), &[("us", None)]);
    assert!(!store.trusts(&eu));
    assert_eq!(decided.said("slot_retired"), Some(Severity::Note));
    assert!(!store.planner.slots.contains_key(&removed.slot), "and is forgotten");
    assert_eq!(store.pinned(), fingerprints([&us]));
}

#[test]
fn a_slot_that_comes_back_has_its_whole_grace_again() {
    let eu = leaf(-30, 300);
    let us = leaf(-30, 300);
    let mut store = MemoryStore::new([digicert_slot("eu"), digicert_slot("us")]);
    let answer = Answer::of(&[&us], &[]);
    store.poll_each(day(0), &[("eu", Some(&Answer::of(&[&eu], &[]))), ("us", Some(&answer))]);
    let removed = store.slots.remove(0);
    store.poll(day(1), &answer);
    // Configured again, but its source is down the whole time.
    store.slots.insert(0, removed);
    store.poll_each(day(10), &[("eu", None), ("us", Some(&answer))]);
    store.slots.remove(0);
    store.poll(day(20), &answer);
    assert!(store.trusts(&eu));
    store.poll(day(33), &answer);
    assert!(store.trusts(&eu));
    store.poll(day(34), &answer);
    assert!(!store.trusts(&eu));
}

#[test]
fn a_source_whose_region_changes_has_another_slot_and_the_old_one_retires() {
    let us = leaf(-30, 300);
    let ca = leaf(-30, 310);
    let mut store = MemoryStore::trusting(&[&us], 0);
    store.slots[0].slot = SlotId::new("us", "ca-central-1", Authority::DigiCert);
    store.poll(day(1), &Answer::of(&[&ca], &[]));
    assert_eq!((store.role(&us), store.role(&ca)), (Some(Role::Retiring), Some(Role::Current)));
    store.poll(day(15), &Answer::of(&[&ca], &[]));
    assert_eq!(store.pinned(), fingerprints([&ca]));
}

#[test]
fn the_stores_last_leaf_stays_when_its_slot_leaves_the_configuration() {
    let us = leaf(-30, 300);
    let mut store = MemoryStore::trusting(&[&us], 0);
    store.slots.clear();
    for at in [1, 20, 200, 301, 2_000] {
        let decided = store.poll_each(day(at), &[]);
        assert_eq!(store.pinned(), fingerprints([&us]));
        assert_eq!(decided.said("slot_retiring"), Some(Severity::Warning));
    }
    store.deny(&us, DenialReason::Distrusted);
    store.poll_each(day(2_001), &[]);
    assert!(store.set.is_empty());
}

#[test]
fn a_retirement_that_unclean_answers_block_beyond_the_grace_alarms_with_the_last_day() {
    let old = leaf(-200, 80);
    let new = leaf(-5, 400);
    let mut store = MemoryStore::trusting(&[&old], 0);
    let unclean = Answer::of(&[&new], &[]).with_another_date();
    for at in 1..=14 {
        assert_eq!(store.poll(day(at), &unclean).said("retirement_blocked"), None, "day {at}");
    }
    let decided = store.poll(day(15), &unclean);
    assert_eq!(decided.said("retirement_blocked"), Some(Severity::Warning));
    assert!(decided.text("retirement_blocked").contains(&day(80).to_string()));
    assert!(store.trusts(&old));
    // A source that says nothing at all blocks it as well.
    assert_eq!(store.poll_each(day(16), &[("us", None)]).said("retirement_blocked"), Some(Severity::Warning));
    // Clean answers that count end the alarm.
    assert_eq!(store.poll(day(17), &Answer::of(&[&new], &[])).said("retirement_blocked"), None);
}

/// Rule 3, the whole of it, at a grace of 14 days.
mod absence {
    use super::*;

    fn rotated() -> (MemoryStore, Leaf, Answer) {
        let old = leaf(-200, 200);
        let new = leaf(-5, 400);
        (MemoryStore::trusting(&[&old], 0), old, Answer::of(&[&new], &[]))
    }

    #[test]
    fn three_clean_answers_the_first_and_the_last_a_grace_apart() {
        let (mut store, old, without) = rotated();
        store.poll(day(1), &without);
        store.poll(day(15), &without);
        assert!(store.trusts(&old), "a grace apart, but two");
        let decided = store.poll(Timestamp::from_unix(day(15).unix() + 1), &without);
        assert!(!store.trusts(&old));
        assert_eq!(decided.said("certificate_left"), Some(Severity::Note));

        let (mut store, old, without) = rotated();
        store.days(1..=14, &without);
        assert!(store.trusts(&old), "many, but not a grace apart");
        store.poll(Timestamp::from_unix(day(15).unix() - 1), &without);
        assert!(store.trusts(&old));
        store.poll(day(15), &without);
        assert!(!store.trusts(&old));
    }

    #[test]
    fn the_grace_counts_from_the_first_answer_without_it_not_from_the_last_with_it() {
        let (mut store, old, without) = rotated();
        for at in [20, 21, 22] {
            store.poll(day(at), &without);
            assert!(store.trusts(&old), "day {at}");
        }
        store.poll(day(34), &without);
        assert!(!store.trusts(&old));
    }

    #[test]
    fn any_listing_in_between_begins_it_anew() {
        for with in [
            |old: &Leaf, new: &Leaf| Answer::of(&[new, old], &[]),
            |old: &Leaf, new: &Leaf| Answer::of(&[new], &[old]),
            |old: &Leaf, _: &Leaf| Answer::of(&[old], &[]).without_upcoming(),
            |old: &Leaf, _: &Leaf| Answer::of(&[], &[old]).without_unfiltered(),
            |old: &Leaf, new: &Leaf| Answer::of(&[new, old], &[]).with_another_date(),
            // Listed, but its chain is broken off: listed all the same.
            |old: &Leaf, new: &Leaf| {
                let alone = trustsync::trust::formats::pem::encode("CERTIFICATE", &old.path[0]);
                Answer::of(&[new], &[]).and(entity("DigiCert", "Current", &alone))
            },
        ] {
            let old = leaf(-200, 200);
            let new = leaf(-5, 400);
            let without = Answer::of(&[&new], &[]);
            let mut store = MemoryStore::trusting(&[&old], 0);
            store.days(1..=13, &without);
            store.poll(day(14), &with(&old, &new));
            store.days(15..=28, &without);
            assert!(store.trusts(&old));
            store.poll(day(29), &without);
            assert!(!store.trusts(&old));
        }
    }

    #[test]
    fn other_answers_neither_count_nor_reset() {
        let (mut store, old, without) = rotated();
        let expired = leaf(-300, -1);
        let refused = refused_leaf(-5, 100);
        let unclean = [
            without.clone().without_upcoming(),
            without.clone().with_another_date(),
            without.clone().and(entity("DigiCert", "Current", &refused.text)),
            without.clone().and(entity("DigiCert", "Current", &expired.text)),
            without.clone().and(entity("Entrust", "Current", &refused.text)),
            without.clone().and(Entity { certificate: None, ..entity("DigiCert", "Current", "") }),
            Answer::of(&[], &[]),
            Answer::of(&[&expired], &[]),
        ];
        for (hour, answer) in unclean.iter().cycle().take(80).enumerate() {
            store.poll(Timestamp::from_unix(day(1).unix() + hour as i64 * 86_400), answer);
        }
        assert!(store.trusts(&old), "eighty days of unclean answers are no absence");
        // Clean ones count; whatever comes between does not start them anew.
        for at in [100, 107, 114] {
            assert!(store.trusts(&old));
            store.poll(day(at), &without);
            for answer in &unclean {
                if at < 114 {
                    store.poll(day(at), answer);
                }
            }
        }
        assert!(!store.trusts(&old));
    }

    #[test]
    fn an_expired_leaf_leaves_only_by_a_whole_answer_with_an_agreeing_date() {
        let (mut store, old, without) = rotated();
        store.poll(day(1), &without);
        for answer in [
            without.clone().with_another_date(),
            without.clone().without_upcoming(),
            without.clone().and(entity("Entrust", "Current", "")),
        ] {
            store.poll(day(201), &answer);
            assert!(store.trusts(&old));
        }
        store.poll_each(day(202), &[("us", None)]);
        assert!(store.trusts(&old));
        let decided = store.poll(day(203), &without);
        assert!(!store.trusts(&old));
        assert!(decided.text("certificate_left").contains("expired"));
    }

    #[test]
    fn the_last_leaf_never_leaves_by_absence_or_expiry() {
        let (mut store, old, without) = rotated();
        // A hold keeps the new one out, so the old one is the only one, however long it is absent.
        store.hold_until(day(100));
        store.days(1..=99, &without);
        assert_eq!(store.pinned(), fingerprints([&old]));

        let only = leaf(-200, 10);
        let mut store = MemoryStore::trusting(&[&only], 0);
        for at in 11..60 {
            let decided = store.poll(day(at), &Answer::of(&[&only], &[]));
            assert_eq!(store.pinned(), fingerprints([&only]));
            assert_eq!(decided.said("last_certificate_expired"), Some(Severity::Critical));
        }
        // And says so even while the vendor is silent.
        let silent = store.poll_each(day(60), &[("us", None)]);
        assert_eq!(silent.said("last_certificate_expired"), Some(Severity::Critical));
        assert_eq!(store.pinned(), fingerprints([&only]));
    }

    #[test]
    fn of_several_that_would_leave_at_once_the_one_that_ends_last_stays() {
        let [first, second] = [leaf(-200, 10), leaf(-200, 12)];
        let mut store = MemoryStore::trusting(&[&first, &second], 0);
        store.poll(day(20), &Answer::of(&[&first, &second], &[]));
        assert_eq!(store.pinned(), fingerprints([&second]));
    }
}

#[test]
fn a_hold_keeps_additions_out_critically_and_removals_too() {
    let old = leaf(-200, 80);
    let new = leaf(-5, 400);
    let mut store = MemoryStore::trusting(&[&old], 0);
    store.hold_until(day(50));
    for decided in store.days(1..=49, &Answer::of(&[&new], &[])) {
        assert_eq!((decided.said("addition_held_back"), decided.exit), (Some(Severity::Critical), Exit::Owed));
    }
    assert_eq!(store.pinned(), fingerprints([&old]));
    // It ends by itself; the counted absences then hold.
    let decided = store.poll(day(50), &Answer::of(&[&new], &[]));
    assert_eq!((decided.exit, store.planner.hold.clone()), (Exit::Done, None));
    assert_eq!(store.pinned(), fingerprints([&new]));
}

#[test]
fn a_hold_keeps_expired_and_unconfigured_leaves_but_no_denied_one() {
    let [one, two, three] = [leaf(-200, 10), leaf(-200, 100), leaf(-200, 90)];
    let mut store = MemoryStore::new([digicert_slot("eu"), digicert_slot("us")]);
    let answer = Answer::of(&[&one, &two], &[]);
    store.poll_each(day(0), &[("eu", Some(&Answer::of(&[&three], &[]))), ("us", Some(&answer))]);
    store.slots.remove(0);
    store.hold_until(day(1_000));
    store.days(1..=40, &answer);
    assert_eq!(store.pinned(), fingerprints([&one, &two, &three]));
    store.deny(&two, DenialReason::Revoked);
    store.poll(day(41), &answer);
    assert_eq!(store.pinned(), fingerprints([&one, &three]));
}

/// A clock that jumped by years, and a vendor whose own clock says so, or who is silent.
#[test]
fn nothing_ends_by_a_clock_that_cannot_be_believed() {
    let [one, two, three] = [leaf(-200, 100), leaf(-200, 300), leaf(-200, 300)];
    let mut store = MemoryStore::new([digicert_slot("eu"), digicert_slot("us")]);
    let answer = Answer::of(&[&one, &two], &[]);
    store.poll_each(day(0), &[("eu", Some(&Answer::of(&[&three], &[]))), ("us", Some(&answer))]);
    store.slots.remove(0);
    store.poll(day(1), &answer);
    store.hold_until(day(10));
    let trusted = store.pinned();
    store.clock_doubted = true;
    for answered in [None, Some(&answer.clone().with_another_date())] {
        store.poll_each(day(2_000), &[("us", answered)]);
        assert_eq!(store.pinned(), trusted);
        assert!(store.planner.hold.is_some(), "the hold's end is a matter of the clock, too");
    }
    // With a clock that can be believed, the same moment ends all of it.
    store.clock_doubted = false;
    store.poll_each(day(2_000), &[("us", None)]);
    assert!(store.planner.hold.is_none());
    assert_eq!(store.pinned(), fingerprints([&one, &two]), "the slot that left the configuration has retired");
}

#[test]
fn what_is_denied_leaves_at_once_and_stays_out_though_it_is_listed() {
    let current = leaf(-200, 80);
    let upcoming = leaf(-5, 400);
    let answer = Answer::of(&[&current], &[&upcoming]);
    let mut store = MemoryStore::empty();
    store.poll(day(0), &answer);
    store.deny(&current, DenialReason::Revoked);
    // No answer is needed.
    let decided = store.poll_each(day(1), &[("us", None)]);
    assert_eq!(store.pinned(), fingerprints([&upcoming]));
    assert_eq!(decided.said("denied_certificate_left"), Some(Severity::Critical));
    for decided in store.days(2..=5, &answer) {
        assert_eq!(decided.said("denied_certificate_listed"), Some(Severity::Critical));
    }
    assert_eq!(store.pinned(), fingerprints([&upcoming]));
    assert!(store.set.denied.contains_key(&current.fingerprint));
}

#[test]
fn only_denial_empties_a_store_and_an_expired_neighbour_stays() {
    let [valid, ends_early] = [leaf(-200, 80), leaf(-200, 10)];
    let mut store = MemoryStore::trusting(&[&valid, &ends_early], 0);
    store.deny(&valid, DenialReason::Revoked);
    store.poll(day(20), &Answer::of(&[&valid], &[]));
    assert_eq!(store.pinned(), fingerprints([&ends_early]), "the last leaf does not leave by expiry");
    store.deny(&ends_early, DenialReason::Distrusted);
    store.poll(day(21), &Answer::of(&[&valid], &[]));
    assert!(store.set.is_empty());
}

#[test]
fn an_upcoming_outside_the_ninety_days_is_accepted_with_a_note() {
    let current = leaf(-200, 91);
    let upcoming = leaf(-1, 400);
    let answer = Answer::of(&[&current], &[&upcoming]);
    let mut store = MemoryStore::empty();
    let decided = store.poll(day(0), &answer);
    assert!(store.trusts(&upcoming));
    assert_eq!((decided.said("upcoming_early"), decided.exit), (Some(Severity::Note), Exit::Done));
    assert_eq!(store.poll(day(1), &answer).said("upcoming_early"), None, "90 days left: the window");
}

#[test]
fn a_missing_upcoming_is_a_warning_at_45_days_and_critical_at_14() {
    let current = leaf(-300, 100);
    let mut store = MemoryStore::empty();
    let mut missing = |left: i64| store.poll(day(100 - left), &Answer::of(&[&current], &[])).said("upcoming_missing");
    assert_eq!(missing(100), None);
    assert_eq!(missing(46), None);
    assert_eq!(missing(45), Some(Severity::Warning));
    assert_eq!(missing(15), Some(Severity::Warning));
    assert_eq!(missing(14), Some(Severity::Critical));
    assert_eq!(missing(0), Some(Severity::Critical));
}

#[test]
fn a_missing_upcoming_alarms_at_most_half_a_life_before_the_end() {
    for (life, left_at_warning, left_at_critical) in [(47, 23, 14), (20, 10, 10), (10, 5, 5)] {
        let current = leaf(0, life);
        let mut store = MemoryStore::empty();
        let said: Vec<_> = (0..=life)
            .map(|at| (life - at, store.poll(day(at), &Answer::of(&[&current], &[])).said("upcoming_missing")))
            .collect();
        for (left, said) in said {
            let expected = if left <= left_at_critical {
                Some(Severity::Critical)
            } else if left <= left_at_warning {
                Some(Severity::Warning)
            } else {
                None
            };
            assert_eq!(said, expected, "life {life}, {left} days left");
        }
    }
}

#[test]
fn when_an_upcoming_is_missing_is_configurable() {
    let current = leaf(-300, 100);
    let mut store = MemoryStore::empty();
    store.policy.upcoming_missing_warning = days(60);
    store.policy.upcoming_missing_critical = days(30);
    let mut missing = |left: i64| store.poll(day(100 - left), &Answer::of(&[&current], &[])).said("upcoming_missing");
    assert_eq!(
        [61, 60, 31, 30].map(&mut missing),
        [None, Some(Severity::Warning), Some(Severity::Warning), Some(Severity::Critical)]
    );
}

#[test]
fn an_upcoming_that_is_trusted_is_not_missing_because_its_listing_failed_once() {
    let current = leaf(-300, 10);
    let upcoming = leaf(-1, 400);
    let mut store = MemoryStore::empty();
    store.poll(day(0), &Answer::of(&[&current], &[&upcoming]));
    let failed = Answer::of(&[&current], &[]).without_upcoming();
    assert_eq!(store.poll(day(1), &failed).said("upcoming_missing"), None);
    assert_eq!(store.poll(day(2), &Answer::of(&[&current], &[])).said("upcoming_missing"), Some(Severity::Critical));
    // Where none was ever seen, a listing that fails calms nobody.
    let mut store = MemoryStore::empty();
    assert_eq!(store.poll(day(1), &failed).said("upcoming_missing"), Some(Severity::Critical));
}

#[test]
fn a_refused_upcoming_is_critical_from_the_first_poll() {
    let current = leaf(-200, 89);
    for refused in [refused_leaf(-1, 400), named_leaf("other.example.com", -1, 400)] {
        let mut store = MemoryStore::empty();
        let decided = store.poll(day(0), &Answer::of(&[&current], &[&refused]));
        assert_eq!((decided.said("upcoming_refused"), decided.exit), (Some(Severity::Critical), Exit::Answer));
        assert_eq!(store.pinned(), fingerprints([&current]), "its neighbour entered");
    }
}

mod genesys {
    use super::*;

    fn store() -> MemoryStore {
        MemoryStore::new([genesys_slot("us")])
    }

    #[test]
    fn a_name_rule_enters_with_its_first_witness_and_stays() {
        let witness = genesys_leaf("Genesys", NAME, &[NAME], -30, 300);
        let mut store = store();
        store.poll(day(0), &Answer::genesys(&[]));
        assert!(store.set.is_empty(), "never before a witness verified");
        let decided = store.poll(day(0), &Answer::genesys(&[&witness]));
        assert_eq!(decided.exit, Exit::Done);
        assert!(store.set.pins.is_empty(), "never a fingerprint");
        let rule = &store.set.name_rules[0];
        assert_eq!(rule.root.der(), WORLD.pki.genesys_root.der());
        assert_eq!(rule.names, [NAME.to_owned()].into());
        assert!(store.set.chain.contains_key(&rule.root.fingerprint()));
        for at in 1..60 {
            assert_eq!(store.poll(day(at), &Answer::genesys(&[])).said("current_absent"), Some(Severity::Critical));
        }
        store.poll(day(301), &Answer::genesys(&[&witness]));
        store.poll_each(day(400), &[("us", None)]);
        assert_eq!((store.set.name_rules.len(), store.generations), (1, 1));
    }

    #[test]
    fn a_witness_that_does_not_match_is_critical_and_changes_nothing() {
        let witness = genesys_leaf("Genesys", NAME, &[NAME], -30, 300);
        let mut store = store();
        store.poll(day(0), &Answer::genesys(&[&witness]));
        for wrong in [refused_leaf(-1, 300), genesys_leaf("Genesys", "other.example.com", &[], -1, 300), leaf(-1, 300)]
        {
            let decided = store.poll(day(1), &Answer::genesys(&[&wrong]));
            assert_eq!((decided.said("current_refused"), decided.exit), (Some(Severity::Critical), Exit::Answer));
        }
        assert_eq!((store.set.name_rules.len(), store.generations), (1, 1));
    }

    #[test]
    fn a_renewed_witness_makes_no_new_generation() {
        let mut store = store();
        for (at, organisation) in [(0, "Genesys"), (200, "Genesys Cloud Services"), (400, "Another GmbH")] {
            let witness = genesys_leaf(organisation, NAME, &[NAME], at - 1, at + 300);
            store.days(at..=at + 30, &Answer::genesys(&[&witness]));
        }
        assert_eq!(store.generations, 1);
        assert_eq!(store.planner.slots.values().next().unwrap().entries.len(), 1);
    }

    #[test]
    fn a_renewal_under_another_of_the_listed_names_changes_nothing() {
        let mut store = store();
        store.slots[0].identity =
            trustsync::trust::plan::observation::IdentityRule::Fixed(names([NAME, "next.example.com"]));
        store.poll(day(0), &Answer::genesys(&[&genesys_leaf("Genesys", NAME, &[], -1, 300)]));
        store.poll(day(1), &Answer::genesys(&[&genesys_leaf("Genesys", "next.example.com", &[], -1, 300)]));
        assert_eq!(store.generations, 1);
        assert_eq!(store.set.name_rules[0].names.len(), 2);
    }

    #[test]
    fn where_servers_cannot_see_the_name_the_issuer_alone_decides() {
        let in_san_alone = genesys_leaf("Genesys", "Genesys Cloud", &[NAME], -30, 300);
        let in_cn = genesys_leaf("Genesys", NAME, &[], -30, 300);
        for witnesses in [vec![&in_san_alone], vec![&in_san_alone, &in_cn], vec![&in_cn, &in_san_alone]] {
            let mut store = store();
            store.poll(day(0), &Answer::genesys(&witnesses));
            assert_eq!(store.set.name_rules.len(), 1);
            assert!(store.set.name_rules[0].names.is_empty(), "every witness must be admitted");
        }
        let mut any = store();
        any.slots[0].identity =
            trustsync::trust::plan::observation::IdentityRule::Fixed(trustsync::trust::verify::Identity::Any);
        any.poll(day(0), &Answer::genesys(&[&genesys_leaf("Genesys", "whatever", &[], -1, 300)]));
        assert!(any.set.name_rules[0].names.is_empty());
    }

    #[test]
    fn a_denied_witness_is_critical_denied_and_lets_no_rule_in() {
        let witness = genesys_leaf("Genesys", NAME, &[NAME], -30, 300);
        let mut store = store();
        store.deny(&witness, DenialReason::Revoked);
        let decided = store.poll(day(0), &Answer::genesys(&[&witness]));
        assert_eq!(decided.said("denied_certificate_listed"), Some(Severity::Critical));
        assert!(store.set.is_empty());
        assert!(store.set.denied.contains_key(&witness.fingerprint));
        // Once another has verified, the rule stands, and the denied one stays denied.
        store.poll(day(1), &Answer::genesys(&[&genesys_leaf("Genesys", NAME, &[NAME], -1, 300)]));
        store.poll(day(2), &Answer::genesys(&[&witness]));
        assert_eq!(store.set.name_rules.len(), 1);
        assert!(store.set.denied.contains_key(&witness.fingerprint));
        // Whoever distrusts the root itself takes the rule away for good.
        let root = trustsync::trust::formats::certificate::Certificate::parse(WORLD.pki.genesys_root.der()).unwrap();
        let denial = store.planner.denied[&witness.fingerprint].clone();
        store.planner.denied.insert(root.fingerprint(), denial);
        store.poll(day(3), &Answer::genesys(&[&genesys_leaf("Genesys", NAME, &[NAME], -1, 300)]));
        assert!(store.set.is_empty());
    }
}

#[test]
fn semantics_decide_and_not_bytes() {
    use trustsync::simulator::pem_form::PemForm;
    let [one, two] = [leaf(-200, 80), leaf(-5, 400)];
    let mut store = MemoryStore::empty();
    store.poll(day(0), &Answer::of(&[&one], &[&two]));
    let before = (store.set.clone(), store.generations);
    for form in PemForm::ALL {
        for authority in ["DigiCert", "digicert", "DIGICERT"] {
            let text = |leaf: &Leaf| form.text(&leaf.path);
            let answer = Answer {
                unfiltered: Some(vec![
                    entity(authority, "UPCOMING", &text(&two)),
                    entity(authority, "current", &text(&one)),
                ]),
                upcoming: Some(vec![entity(authority, "Upcoming", &text(&two))]),
                is_fresh: true,
                incomplete: false,
            };
            let decided = store.poll(day(1), &answer);
            assert_eq!(decided.exit, Exit::Done);
            assert_eq!((store.set.clone(), store.generations), before);
        }
    }
}

#[test]
fn what_the_memory_holds_is_what_the_manifest_says() {
    let [one, two] = [leaf(-200, 80), leaf(-5, 400)];
    let mut store = MemoryStore::new([digicert_slot("us"), genesys_slot("us")]);
    let witness = genesys_leaf("Genesys", NAME, &[NAME], -30, 300);
    store.poll(day(0), &Answer::of(&[&one], &[&two]).and(entity("Genesys", "Current", &witness.text)));
    let slots = Manifest::slots_of(&store.planner);
    assert_eq!(slots.values().map(|slot| slot.entries.len()).collect::<Vec<_>>(), [2, 1]);
}

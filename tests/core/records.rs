//! What is written down between cycles: the manifest and the state, their schemas, and how they agree again after a
//! crash between the two writes; and the difference that people are shown.

use std::collections::{BTreeMap, BTreeSet};

use support::leaves::*;
use trustsync::marker;
use trustsync::trust::event::Event;
use trustsync::trust::event::finding::Finding;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::event::subject::Subject;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::difference::{Action, Difference};
use trustsync::trust::plan::planner_state::SlotState;
use trustsync::trust::plan::set::{DenialReason, TrustSet};
use trustsync::trust::records::manifest::{self, Manifest, RecordError};
use trustsync::trust::records::state::{self, Looked, SourceState, State, TargetState};
use trustsync::trust::render::{Content, Label};
use trustsync::trust::turn::{Evidence, Owed, Proof};
use trustsync::trust::values::fingerprint::Fingerprint;
use trustsync::trust::values::marker_name::MarkerName;
use trustsync::trust::values::slot::SlotId;

fn manifest_of(store: &MemoryStore, number: u64) -> Manifest {
    let name = MarkerName { store_id: "0123456789abcdef".into(), generation: number, digest_head: "01234567".into() };
    let marker = Certificate::parse(&marker::mint(&name).unwrap()).unwrap();
    let outputs = BTreeSet::new();
    let content = Content::of(&store.set, &store.planner, &outputs);
    let label =
        Label { store: "0123456789abcdef", generation: number, committed: day(0), cause: "cycle", marker: &marker };
    Manifest::read(&content.render(&label)["manifest.json"]).unwrap()
}

fn certificates(set: &TrustSet) -> BTreeMap<Fingerprint, Certificate> {
    let leaves = set.pins.values().map(|pin| (pin.leaf.fingerprint(), pin.leaf.clone()));
    leaves.chain(set.chain.clone()).chain(set.extra.clone()).collect()
}

fn rich() -> (MemoryStore, [Leaf; 2]) {
    let leaves = [leaf(-200, 80), leaf(-5, 400)];
    let mut store = MemoryStore::new([learning(Some(NAME)), genesys_slot("us")]);
    let other = Certificate::parse(WORLD.pki.other_root.der()).unwrap();
    store.extra.insert(other.fingerprint(), other);
    store.deny(&leaf(-1, 9), DenialReason::Revoked);
    let witness = genesys_leaf("Genesys", NAME, &[NAME], -30, 300);
    store.poll(day(0), &Answer::of(&[&leaves[0]], &[&leaves[1]]).and(entity("Genesys", "Current", &witness.text)));
    (store, leaves)
}

fn state_of(store: &MemoryStore, generation: u64) -> State {
    State { generation, planner: store.planner.clone(), ..State::born("0123456789abcdef".to_owned()) }
}

#[test]
fn a_manifest_gives_back_the_set_and_the_memory_that_it_was_made_from() {
    let (store, _) = rich();
    let manifest = manifest_of(&store, 7);
    assert_eq!(manifest.set(&certificates(&store.set)), store.set);
    let planner = manifest.planner();
    assert_eq!(planner.denied, store.planner.denied);
    for (slot, held) in &store.planner.slots {
        let told = &planner.slots[slot];
        assert_eq!((&told.identity, told.last_clean), (&held.identity, None), "clean answers are counted anew");
        for (key, entry) in &held.entries {
            let told = &told.entries[key];
            assert_eq!((&told.trusted, told.absence, told.proposal), (&entry.trusted, None, None));
        }
    }
    // What is missing beside it is missing in the set, and nothing else.
    assert!(manifest.set(&BTreeMap::new()).is_empty());
}

#[test]
fn newer_schemas_are_refused_in_words_and_older_ones_are_read() {
    let (store, _) = rich();
    let manifest = serde_json::to_value(manifest_of(&store, 7)).unwrap();
    let state = serde_json::to_value(state_of(&store, 7)).unwrap();
    let with = |value: &serde_json::Value, schema: u32| {
        let mut value = value.clone();
        value["schema"] = schema.into();
        serde_json::to_vec(&value).unwrap()
    };
    assert!(Manifest::read(&with(&manifest, manifest::SCHEMA)).is_ok());
    assert!(Manifest::read(&with(&manifest, 0)).is_ok());
    assert!(State::read(&with(&state, state::SCHEMA)).is_ok());
    assert!(State::read(&with(&state, 0)).is_ok());
    let newer = Manifest::read(&with(&manifest, manifest::SCHEMA + 1)).unwrap_err();
    assert_eq!(
        newer,
        RecordError::Newer {
            schema: manifest::SCHEMA + 1,
            known: manifest::SCHEMA,
            instead: "restore the state that this version wrote"
        }
    );
    assert!(newer.to_string().contains("upgrade"), "{newer}");
    let newer = State::read(&with(&state, state::SCHEMA + 1)).unwrap_err();
    assert_eq!(
        newer,
        RecordError::Newer {
            schema: state::SCHEMA + 1,
            known: state::SCHEMA,
            instead: "remove the file to have it rebuilt from the manifest"
        }
    );
    assert!(newer.to_string().contains("upgrade"), "{newer}");
    // A newer one may have any form: its number is read before all else.
    assert_eq!(
        State::read(br#"{"schema": 99, "store": 7, "else": []}"#),
        Err(RecordError::Newer {
            schema: 99,
            known: state::SCHEMA,
            instead: "remove the file to have it rebuilt from the manifest"
        })
    );
    assert_eq!(
        Manifest::read(br#"{"schema": 99, "store": 7, "else": []}"#),
        Err(RecordError::Newer {
            schema: 99,
            known: manifest::SCHEMA,
            instead: "restore the state that this version wrote"
        })
    );
}

#[test]
fn garbage_is_corrupt_and_never_empty() {
    let bytes = state_of(&rich().0, 7).to_bytes();
    for garbage in [
        &b""[..],
        b"{}",
        b"null",
        b"[]",
        b"\xff\xfe",
        br#"{"schema": 1}"#,
        br#"{"schema": -1}"#,
        &bytes[..bytes.len() / 2],
    ] {
        assert!(matches!(State::read(garbage), Err(RecordError::Corrupt { .. })), "{garbage:?}");
        assert!(matches!(Manifest::read(garbage), Err(RecordError::Corrupt { .. })), "{garbage:?}");
    }
}

#[test]
fn a_state_reads_as_it_was_written() {
    let (mut store, _) = rich();
    store.hold_until(day(9));
    store.days(1..=4, &Answer::of(&[&leaf(-1, 500)], &[]));
    let mut state = state_of(&store, 7);
    state
        .sources
        .insert("us".into(), SourceState { failures: 3, last_error: Some("no".into()), ..SourceState::default() });
    state.targets.insert(
        "nginx".into(),
        TargetState {
            evidence: Some(Evidence::ChainOnly("why".into())),
            owed: Some(Owed::Unproven(Proof::NotYet("why".into()))),
            ..TargetState::default()
        },
    );
    state.raise(&[Finding::new(Event::StoreUnfaithful, Subject::store("b"), "c")], &Looked::default(), day(0));
    assert_eq!(State::read(&state.to_bytes()).unwrap(), state);
}

#[test]
fn a_manifest_newer_than_the_state_wins_after_a_crash_between_the_two() {
    let (mut store, [_, upcoming]) = rich();
    let mut state = state_of(&store, 7);
    let before = store.planner.clone();
    // The next generation was committed; the state was not.
    let newest = leaf(-1, 500);
    store.deny(&upcoming, DenialReason::Revoked);
    store.poll(day(1), &Answer::of(&[&newest], &[]));
    let manifest = manifest_of(&store, 8);
    state.follow(&manifest);
    assert_eq!(state.generation, 8);
    assert_eq!(Manifest::slots_of(&state.planner), manifest.slots);
    assert_eq!(state.planner.denied, store.planner.denied);
    for (slot, held) in &before.slots {
        for (key, entry) in &held.entries {
            let Some(now) = state.planner.slots[slot].entries.get(key) else { continue };
            assert_eq!(
                (now.trusted.first_seen, now.last_seen, now.absence),
                (entry.trusted.first_seen, entry.last_seen, entry.absence)
            );
        }
        assert_eq!(state.planner.slots[slot].last_clean, held.last_clean);
    }
    // And what is planned next from it is what would have been planned.
    let mut continued = store.clone();
    continued.planner = state.planner;
    continued.poll(day(1), &Answer::of(&[&newest], &[]));
    assert_eq!(continued.set.digest(), store.set.digest());
}

#[test]
fn a_state_newer_than_the_manifest_keeps_its_counters_and_changes_no_trust() {
    let (mut store, [current, _]) = rich();
    let manifest = manifest_of(&store, 7);
    // A denial in the state alone must survive, too.
    let newest = leaf(-1, 500);
    store.hold_until(day(20));
    store.days(1..=2, &Answer::of(&[&newest], &[]));
    store.planner.hold = None;
    store.poll(day(3), &Answer::of(&[&newest], &[]));
    store.hold_until(day(20));
    store.deny(&current, DenialReason::Distrusted);
    let mut state = state_of(&store, 9);
    state.follow(&manifest);
    assert_eq!(state.generation, 9, "numbers are never used twice");
    assert_eq!(Manifest::slots_of(&state.planner), manifest.slots, "what is trusted stands in the generation");
    assert!(state.planner.hold.is_some());
    assert!(state.planner.denied.contains_key(&current.fingerprint));
    let slot = &store.slots[0].slot;
    assert_eq!(state.planner.slots[slot].last_clean, Some(day(3)));
    assert_eq!(state.planner.slots[slot].entries[&current.fingerprint].absence.unwrap().answers, 3);
    // Following once more changes nothing.
    let once = state.clone();
    state.follow(&manifest);
    assert_eq!(state, once);
}

#[test]
fn a_slot_without_entries_keeps_its_memory_without_a_generation() {
    let (store, _) = rich();
    let manifest = manifest_of(&store, 7);
    let mut other = MemoryStore::new([digicert_slot("eu")]);
    other.poll(day(1), &Answer::of(&[], &[]));
    let mut state = state_of(&store, 7);
    state.planner.slots.extend(other.planner.slots.clone());
    state.follow(&manifest);
    assert_eq!(state.planner.slots[&other.slots[0].slot], other.planner.slots[&other.slots[0].slot]);
}

mod alarms {
    use super::*;

    fn state() -> State {
        State::born("0123456789abcdef".to_owned())
    }

    #[test]
    fn one_that_persists_keeps_its_beginning_and_one_that_ends_is_gone() {
        let mut state = state();
        let missing = |severity| Finding::graded(severity, Event::UpcomingMissing, &slot("us"), "text");
        let other = Finding::new(Event::EntitySkipped, Subject::source("us"), "text");
        state.raise(&[missing(Severity::Warning), other], &Looked::default(), day(0));
        state.raise(&[missing(Severity::Warning)], &Looked::default(), day(1));
        state.raise(&[missing(Severity::Critical)], &Looked::default(), day(2));
        let alarm = &state.alarms["upcoming_missing:us.us-east-1.digicert"];
        assert_eq!((alarm.since, alarm.finding.severity, state.alarms.len()), (day(0), Severity::Critical, 1));
        state.raise(&[], &Looked::default(), day(3));
        assert!(state.alarms.is_empty());
        state.raise(&[missing(Severity::Warning)], &Looked::default(), day(4));
        assert_eq!(state.alarms["upcoming_missing:us.us-east-1.digicert"].since, day(4), "a new one begins anew");
    }

    #[test]
    fn notes_are_not_alarms_and_of_two_both_are_told_the_more_urgent_first() {
        let mut state = state();
        let finding = |severity, text: &str| Finding { severity, ..Finding::new(Event::RootEnds, &slot("us"), text) };
        state.raise(
            &[
                finding(Severity::Note, "0"),
                finding(Severity::Warning, "2"),
                finding(Severity::Critical, "1"),
                finding(Severity::Critical, "1"),
            ],
            &Looked::default(),
            day(0),
        );
        let told = |state: &State| {
            let alarms = state.alarms.values().map(|alarm| (alarm.finding.severity, alarm.finding.text.clone()));
            alarms.collect::<Vec<_>>()
        };
        assert_eq!(told(&state), [(Severity::Critical, "1 2".to_owned())]);
        // Of several leaves of a slot each is named; one that is well again is not.
        state.raise(
            &[finding(Severity::Critical, "one leaf"), finding(Severity::Critical, "another")],
            &Looked::default(),
            day(1),
        );
        assert_eq!(told(&state), [(Severity::Critical, "one leaf another".to_owned())]);
        state.raise(&[finding(Severity::Critical, "another")], &Looked::default(), day(2));
        assert_eq!(told(&state), [(Severity::Critical, "another".to_owned())]);
    }

    #[test]
    fn what_is_found_between_cycles_is_added_to_what_stands() {
        let mut state = state();
        let of = |event, text: &str| Finding::new(event, Subject::store("main"), text);
        state.raise(&[of(Event::StoreUnfaithful, "old")], &Looked::default(), day(0));
        state.raise_besides(&[of(Event::StoreUnfaithful, "new"), of(Event::StoreNotSwept, "")], day(1));
        let alarm = &state.alarms["store_unfaithful:main"];
        assert_eq!((alarm.finding.text.as_str(), alarm.since), ("new", day(0)));
        assert_eq!(state.alarms["store_not_swept:main"].since, day(1));
    }

    /// A store with the sources us and eu, each with a slot, and the target nginx.
    fn peopled() -> State {
        let mut state = state();
        for source in ["us", "eu"] {
            state.sources.insert(source.into(), SourceState::default());
            let slot = digicert_slot(source).slot;
            state.planner.slots.insert(slot, SlotState::default());
        }
        state.targets.insert("nginx".into(), TargetState::default());
        state
    }

    fn slot(source: &str) -> SlotId {
        digicert_slot(source).slot
    }

    fn asked(source: &str) -> Looked {
        Looked { sources: [source.to_owned()].into(), ..Looked::default() }
    }

    fn ids(state: &State) -> Vec<&str> {
        state.alarms.keys().map(String::as_str).collect()
    }

    #[test]
    fn one_about_a_source_that_was_not_asked_stands() {
        let mut state = peopled();
        let of_us = Finding::new(Event::CurrentAbsent, &slot("us"), "");
        let unreachable = Finding::new(Event::SourceUnreachable, Subject::source("us"), "");
        state.raise(&[of_us.clone(), unreachable.clone()], &asked("us"), day(0));
        for looked in [Looked::default(), asked("eu")] {
            state.raise(&[], &looked, day(1));
            assert_eq!(ids(&state), [of_us.alarm_id(), unreachable.alarm_id()]);
            assert!(state.alarms.values().all(|alarm| alarm.since == day(0) && !alarm.unseen));
        }
        state.raise(&[], &asked("us"), day(2));
        assert!(state.alarms.is_empty(), "it was asked, and all is well: {:?}", ids(&state));
    }

    #[test]
    fn one_about_a_source_that_is_configured_no_longer_ends() {
        let mut state = peopled();
        state.raise(&[Finding::new(Event::CurrentAbsent, &slot("us"), "")], &asked("us"), day(0));
        state.sources.remove("us");
        state.raise(&[], &asked("eu"), day(1));
        assert!(state.alarms.is_empty(), "nobody will ever ask it again: {:?}", ids(&state));
    }

    #[test]
    fn one_about_a_target_whose_turn_was_not_taken_stands() {
        let mut state = peopled();
        let took = Looked { targets: ["nginx".to_owned()].into(), ..Looked::default() };
        let moved = Finding::new(Event::TargetRefuted, Subject::target("nginx"), "");
        let drift = Finding::new(Event::StoreDrift, Subject::target("nginx"), "");
        state.raise(&[moved.clone(), drift.clone()], &took, day(0));
        state.raise(&[], &asked("us"), day(1));
        assert_eq!(ids(&state), [drift.alarm_id(), moved.alarm_id()]);
        assert!(state.alarms.values().all(|alarm| !alarm.unseen), "nobody has looked whether it is over");
        state.raise(&[], &took, day(2));
        assert_eq!(ids(&state), [drift.alarm_id()], "the event stays to be seen, the condition is over");
        assert!(state.alarms[&drift.alarm_id()].unseen);
        // One that left the configuration takes no turn any more.
        state.raise(&[moved], &took, day(3));
        state.targets.clear();
        state.raise(&[], &asked("us"), day(4));
        assert_eq!(ids(&state), [drift.alarm_id()]);
    }

    #[test]
    fn lists_that_were_not_asked_for_leave_what_was_said_of_them() {
        let mut state = peopled();
        let lists = Looked { lists: true, ..Looked::default() };
        state.raise(
            &[Finding::new(Event::CrlUnavailable, Subject::RevocationList("http://crl/".into()), "")],
            &lists,
            day(0),
        );
        state.raise(&[], &asked("us"), day(1));
        assert_eq!(state.alarms.len(), 1);
        state.raise(&[], &lists, day(2));
        assert!(state.alarms.is_empty());
    }

    #[test]
    fn an_event_that_is_over_stays_until_it_is_seen_and_comes_back_if_its_cause_does() {
        let mut state = peopled();
        let refused = Finding::new(Event::UpcomingRefused, &slot("us"), "");
        let missing = Finding::graded(Severity::Warning, Event::UpcomingMissing, &slot("us"), "");
        let both = [refused.clone(), missing.clone()];
        state.raise(&both, &asked("us"), day(0));
        assert!(state.acknowledge(|_| true).is_empty(), "what still stands cannot be seen away");
        assert_eq!(state.alarms.len(), 2);

        for now in 1..4 {
            state.raise(&[], &asked("us"), day(now));
            assert_eq!(ids(&state), [refused.alarm_id()], "the condition ended, the event waits to be seen");
            let alarm = &state.alarms[&refused.alarm_id()];
            assert_eq!((alarm.unseen, alarm.since), (true, day(0)));
        }
        let reread = State::read(&state.to_bytes()).unwrap();
        assert_eq!(reread, state, "it waits through a restart");
        assert!(state.acknowledge(|id| id == "another").is_empty());
        assert_eq!(state.acknowledge(|id| id == refused.alarm_id()), [refused.alarm_id()]);
        state.raise(&[], &asked("us"), day(5));
        assert!(state.alarms.is_empty());

        state.raise(std::slice::from_ref(&refused), &asked("us"), day(6));
        let alarm = &state.alarms[&refused.alarm_id()];
        assert_eq!((alarm.unseen, alarm.since), (false, day(6)), "a new one begins anew");
        // Over and unseen, and there again: it stands as it did.
        state.raise(&[], &asked("us"), day(7));
        state.raise(std::slice::from_ref(&refused), &asked("us"), day(8));
        let alarm = &state.alarms[&refused.alarm_id()];
        assert_eq!((alarm.unseen, alarm.since), (false, day(6)));
        assert!(state.acknowledge(|_| true).is_empty());
    }

    #[test]
    fn a_settled_target_ends_its_own_alarms_alone() {
        let mut state = state();
        let of = |event, target: &str| Finding::new(event, Subject::target(target), "");
        state.raise(
            &[of(Event::TargetNotTold, "nginx"), of(Event::TargetNotTold, "other"), of(Event::StoreDrift, "nginx")],
            &Looked::default(),
            day(0),
        );
        state.settled("nginx");
        assert_eq!(state.alarms.keys().collect::<Vec<_>>(), ["store_drift:target:nginx", "target_not_told:other"]);
    }
}

#[test]
fn a_difference_names_what_enters_changes_and_leaves() {
    let (mut store, [current, upcoming]) = rich();
    let before = store.set.clone();
    assert!(Difference::between(&before, &before).is_empty());
    let newest = leaf(-1, 500);
    store.days(1..=3, &Answer::of(&[&upcoming], &[&newest]));
    store.deny(&current, DenialReason::Revoked);
    store.poll(day(4), &Answer::of(&[&upcoming], &[&newest]));
    let difference = Difference::between(&before, &store.set);
    let shown: Vec<(Action, &str, Fingerprint)> =
        difference.changes.iter().map(|change| (change.action, change.what.as_str(), change.fingerprint)).collect();
    let expected = [
        (Action::Added, "upcoming", newest.fingerprint),
        (Action::Added, "denied", current.fingerprint),
        (Action::Changed, "upcoming to current", upcoming.fingerprint),
        (Action::Removed, "current", current.fingerprint),
    ];
    // The role that it had before the difference, not the one it had meanwhile.
    assert_eq!(shown, expected);
    let text = difference.to_text();
    assert!(text.contains(&format!("+ {:<20} sha256:{}", "upcoming", newest.fingerprint)), "{text}");
    assert!(
        text.contains(&format!("until {}", day(500))) && text.contains(&newest.certificate.facts().subject),
        "{text}"
    );
    let from_nothing = Difference::between(&TrustSet::default(), &before);
    let kinds: BTreeSet<&str> = from_nothing.changes.iter().map(|change| change.what.as_str()).collect();
    let rule = format!("name rule: {NAME}");
    assert_eq!(kinds, ["chain", "current", "denied", "extra anchor", &rule, "upcoming"].into());
}

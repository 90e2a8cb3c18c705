//! What a listing may claim: more leaves, answer by answer or all at once, and what a doubtful answer may not take away.

use support::leaves::*;
use trustsync::exit::Exit;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::plan::observation::MOST_ENTITIES;
use trustsync::trust::plan::set::Role;

fn currents<'a>(leaves: impl IntoIterator<Item = &'a Leaf>) -> Answer {
    Answer::of(&leaves.into_iter().collect::<Vec<_>>(), &[])
}

#[test]
fn sixty_leaves_in_fifteen_polls_fill_a_slot_to_its_bound_and_what_is_listed_all_along_stays() {
    let current = leaf(-100, 200);
    let new: Vec<Leaf> = (0..60).map(|at| leaf(-50, 201 + at)).collect();
    let mut store = MemoryStore::trusting(&[&current], -1);
    let mut alarms = 0;
    for (poll, four) in new.chunks(4).enumerate() {
        let decided = store.poll(day(poll as i64), &currents([&current].into_iter().chain(four)));
        assert!(store.pinned().len() <= 8 && store.trusts(&current), "poll {poll}: {}", store.pinned().len());
        if poll == 0 {
            assert!(four.iter().all(|leaf| store.trusts(leaf)));
        }
        if decided.said("too_many_pins") == Some(Severity::Critical) {
            alarms += 1;
            assert_eq!(decided.exit, Exit::Answer);
            assert!(decided.text("too_many_pins").contains("verify.max_pins"), "{}", decided.text("too_many_pins"));
        }
    }
    assert!(alarms > 5, "{alarms}");
}

#[test]
fn of_what_is_new_current_comes_before_upcoming() {
    let held: Vec<Leaf> = (0..7).map(|at| leaf(-100, 200 + at)).collect();
    let mut store = MemoryStore::empty();
    store.policy.max_new_leaves = 100;
    store.poll(day(0), &currents(&held));
    let (current, upcoming) = (leaf(-5, 300), leaf(-5, 400));
    let listed: Vec<&Leaf> = held.iter().chain([&current]).collect();
    let decided = store.poll(day(1), &Answer::of(&listed, &[&upcoming]));
    assert!(store.trusts(&current) && !store.trusts(&upcoming));
    assert_eq!((decided.said("too_many_pins"), decided.exit), (Some(Severity::Critical), Exit::Answer));
}

#[test]
fn what_retires_makes_room_and_nothing_else_does() {
    let old: Vec<Leaf> = (0..8).map(|at| leaf(-100, 200 + at)).collect();
    let next: Vec<Leaf> = (0..3).map(|at| leaf(-5, 300 + at)).collect();
    let mut store = MemoryStore::empty();
    store.policy.max_new_leaves = 100;
    store.poll(day(0), &currents(&old));
    // Six of the old ones are listed still. Two are not; but that must be seen in three clean answers.
    let answer = currents(old[..6].iter().chain(&next));
    for at in 1..=3 {
        store.poll(day(at), &answer);
        assert_eq!(store.pinned(), fingerprints(&old), "day {at}");
    }
    assert_eq!(store.role(&old[7]), Some(Role::Retiring), "what is kept out keeps no answer from being clean");
    let decided = store.poll(day(4), &answer);
    assert_eq!(store.pinned().len(), 8);
    assert!(old[..6].iter().all(|leaf| store.trusts(leaf)), "what is listed stays");
    assert_eq!(next.iter().filter(|leaf| store.trusts(leaf)).count(), 2);
    assert_eq!(decided.said("too_many_pins"), Some(Severity::Critical), "the third has no room");
}

#[test]
fn of_a_thousand_entities_some_are_judged_and_nothing_counts_as_absent() {
    let (old, current, upcoming) = (leaf(-200, 20), leaf(-100, 200), leaf(-5, 400));
    let mut store = MemoryStore::trusting(&[&old], -1);
    let mut answer = Answer::of(&[&current], &[&upcoming]);
    for number in 0..1_000 {
        answer = answer.and(entity("DigiCert", "Current", &format!("no certificate {number}")));
    }
    let decided = store.poll(day(0), &answer);
    let [heard] = decided.answers.as_slice() else { panic!("one slot answered") };
    assert_eq!((heard.certificates.len(), heard.complete), (MOST_ENTITIES, false));
    assert!(store.trusts(&current) && store.trusts(&upcoming) && store.trusts(&old));
    assert_eq!((decided.said("too_many_entities"), decided.exit), (Some(Severity::Critical), Exit::Answer));
    let log: usize = decided.findings.iter().map(|finding| finding.text.len()).sum();
    assert!(decided.findings.len() <= 4 && log < 3_000, "{log} bytes: {:#?}", decided.findings);
    for at in 1..30 {
        store.poll(day(at), &answer);
    }
    assert!(store.trusts(&old), "an answer that was not judged whole takes nothing away");
}

#[test]
fn an_incomplete_answer_teaches_no_names() {
    let current = named_leaf("one.example.com", -30, 300);
    let mut store = MemoryStore::new([learning(None)]);
    let answer = Answer::of(&[&current], &[]);
    store.poll(day(0), &Answer { incomplete: true, ..answer.clone() });
    assert!(store.set.is_empty(), "a Current that has other names may be missing");
    store.poll(day(1), &answer);
    assert!(store.trusts(&current));
}

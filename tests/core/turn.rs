//! A target's turn without a disk, a server or a network: each path of the design by its name, and then every path there
//! is, through every situation, against what must hold on all of them.

use trustsync::trust::event::subject::Subject;
use trustsync::trust::plan::schedule::reload_is_due;
use trustsync::trust::records::state::TargetState;
use trustsync::trust::turn::{Event, Evidence, Owed, Proof, Situation, Step, Turn, TurnOutcome};
use trustsync::trust::values::timestamp::Timestamp;

const OLD: u64 = 41;
const NEW: u64 = 42;

/// An nginx that serves OLD, with NEW committed.
fn situation() -> Situation {
    Situation {
        wanted: NEW,
        linked: Some(OLD),
        acknowledged: Some(OLD),
        reloaded: None,
        unenforced: false,
        reload_again: true,
        checkable: true,
        checkable_privately: true,
        checkable_in_place: true,
        linked_reads_back: true,
        can_be_reloaded: true,
        provable: true,
        chain_provable: true,
        allowlist_provable: true,
        confirmed: false,
        drops_denied: false,
        forced: false,
    }
}

fn placed() -> Situation {
    Situation { linked: Some(NEW), acknowledged: Some(NEW), ..situation() }
}

fn ok() -> Event {
    Event::Succeeded
}

fn fails(why: &str) -> Event {
    Event::Failed(why.to_owned())
}

fn no_namespace() -> Event {
    Event::NoNamespace("not root".to_owned())
}

fn not_run() -> Event {
    Event::NotRun("no such program".to_owned())
}

fn proof(proof: Proof) -> Event {
    Event::Proof(proof)
}

fn why() -> String {
    "because".to_owned()
}

/// Plays a turn: the steps that it takes must be these, each followed by its event.
fn play(situation: Situation, script: &[(Step, Event)]) -> TurnOutcome {
    let (mut turn, mut step) = Turn::begin(situation);
    for (expected, event) in script {
        assert_eq!(step, *expected);
        step = turn.on(event.clone());
    }
    match step {
        Step::Finish(outcome) => outcome,
        step => panic!("the turn goes on: {step:?}"),
    }
}

const RELOADED: Step = Step::Prove { reloaded: true };
const FIRST: Step = Step::Prove { reloaded: false };

fn settled(evidence: Evidence) -> TurnOutcome {
    TurnOutcome::Settled(evidence)
}

#[test]
fn a_new_generation_is_read_back_checked_switched_told_and_proven() {
    let outcome = play(
        situation(),
        &[
            (Step::ReadBack, ok()),
            (Step::CheckPrivately(NEW), ok()),
            (Step::Switch(NEW), ok()),
            (Step::Reload, ok()),
            (RELOADED, proof(Proof::Proven)),
        ],
    );
    assert_eq!(outcome, settled(Evidence::Proven));
}

#[test]
fn blame_needs_new_fails_old_passes_new_fails() {
    let outcome = play(
        situation(),
        &[
            (Step::ReadBack, ok()),
            (Step::CheckPrivately(NEW), fails("new")),
            (Step::CheckPrivately(OLD), ok()),
            (Step::CheckPrivately(NEW), fails("again")),
        ],
    );
    assert_eq!(outcome, TurnOutcome::Owed(Owed::Refused("new".into())), "the link was never moved");
    // A check that fails once and then passes blames nobody.
    let outcome = play(
        situation(),
        &[
            (Step::ReadBack, ok()),
            (Step::CheckPrivately(NEW), fails("once")),
            (Step::CheckPrivately(OLD), ok()),
            (Step::CheckPrivately(NEW), ok()),
            (Step::Switch(NEW), ok()),
            (Step::Reload, ok()),
            (RELOADED, proof(Proof::Proven)),
        ],
    );
    assert_eq!(outcome, settled(Evidence::Proven));
}

#[test]
fn a_server_that_is_broken_without_us_gets_the_new_generation_and_is_owed() {
    let outcome = play(
        situation(),
        &[
            (Step::ReadBack, ok()),
            (Step::CheckPrivately(NEW), fails("new")),
            (Step::CheckPrivately(OLD), fails("old")),
            (Step::Switch(NEW), ok()),
        ],
    );
    assert_eq!(outcome, TurnOutcome::Owed(Owed::BrokenWithoutUs { new: "new".into(), old: "old".into() }));
}

#[test]
fn without_a_namespace_it_is_checked_before_the_switch_and_after_and_goes_back_on_blame() {
    let begin = [
        (Step::ReadBack, ok()),
        (Step::CheckPrivately(NEW), no_namespace()),
        (Step::Check, ok()),
        (Step::Switch(NEW), ok()),
    ];
    let with = |rest: &[(Step, Event)]| play(situation(), &[&begin, rest].concat());

    let fine = with(&[(Step::Check, ok()), (Step::Reload, ok()), (RELOADED, proof(Proof::Proven))]);
    assert_eq!(fine, settled(Evidence::Proven));

    let blamed = with(&[
        (Step::Check, fails("new")),
        (Step::Switch(OLD), ok()),
        (Step::Check, ok()),
        (Step::Switch(NEW), ok()),
        (Step::Check, fails("again")),
        (Step::Switch(OLD), ok()),
    ]);
    assert_eq!(blamed, TurnOutcome::Owed(Owed::Refused("new".into())));

    let once = with(&[
        (Step::Check, fails("once")),
        (Step::Switch(OLD), ok()),
        (Step::Check, ok()),
        (Step::Switch(NEW), ok()),
        (Step::Check, ok()),
        (Step::Reload, ok()),
        (RELOADED, proof(Proof::Proven)),
    ]);
    assert_eq!(once, settled(Evidence::Proven));

    let broken = with(&[
        (Step::Check, fails("new")),
        (Step::Switch(OLD), ok()),
        (Step::Check, fails("old")),
        (Step::Switch(NEW), ok()),
    ]);
    let without_us = TurnOutcome::Owed(Owed::BrokenWithoutUs { new: "new".into(), old: "old".into() });
    assert_eq!(broken, without_us);
}

#[test]
fn without_a_namespace_a_server_that_was_broken_before_is_seen_to_be_and_the_link_goes_forward_once() {
    let begin = [
        (Step::ReadBack, ok()),
        (Step::CheckPrivately(NEW), no_namespace()),
        (Step::Check, fails("old")),
        (Step::Switch(NEW), ok()),
    ];
    let with = |rest: &[(Step, Event)]| play(situation(), &[&begin, rest].concat());
    let without_us = TurnOutcome::Owed(Owed::BrokenWithoutUs { new: "new".into(), old: "old".into() });
    assert_eq!(with(&[(Step::Check, fails("new"))]), without_us);
    // What stood there was at fault, and the new generation mends it.
    let mended = with(&[(Step::Check, ok()), (Step::Reload, ok()), (RELOADED, proof(Proof::Proven))]);
    assert_eq!(mended, settled(Evidence::Proven));
}

#[test]
fn what_a_blind_check_passes_says_nothing_and_what_it_refuses_still_counts() {
    for in_place in [true, false] {
        let blind = Situation { checkable_privately: false, checkable_in_place: in_place, ..situation() };
        let fine = [
            (Step::ReadBack, ok()),
            (Step::Check, ok()),
            (Step::Switch(NEW), ok()),
            (Step::Check, ok()),
            (Step::Reload, ok()),
            (RELOADED, proof(Proof::Proven)),
        ];
        assert_eq!(play(blind.clone(), &fine), settled(Evidence::Proven));
        let (mut turn, _) = Turn::begin(blind);
        assert_eq!(turn.on(ok()), Step::Check);
        let then = turn.on(fails("old"));
        if in_place {
            assert_eq!(then, Step::Switch(NEW));
            assert_eq!(turn.on(ok()), Step::Check);
            assert!(matches!(turn.on(fails("new")), Step::Finish(TurnOutcome::Owed(Owed::BrokenWithoutUs { .. }))));
        } else {
            assert_eq!(then, Step::Finish(TurnOutcome::Owed(Owed::BrokenBefore("old".into()))));
        }
    }
}

#[test]
fn a_check_that_could_not_be_run_blames_nobody_and_nobody_is_told() {
    let not_known = |words: &str| TurnOutcome::Owed(Owed::CheckNotRun(words.into()));
    let why = "no such program";
    let script = [(Step::ReadBack, ok()), (Step::CheckPrivately(NEW), not_run()), (Step::Switch(NEW), ok())];
    assert_eq!(play(situation(), &script), not_known(why), "there for whoever reloads it");
    let apache = Situation { checkable_in_place: false, ..situation() };
    assert_eq!(play(apache.clone(), &script[..2]), not_known(why), "nothing acts that nobody judged");
    let denied = Situation { drops_denied: true, ..apache.clone() };
    assert_eq!(play(denied, &script), not_known(why), "but a denial goes as far as it can");

    let as_it_stands = [(Step::ReadBack, ok()), (Step::CheckPrivately(NEW), no_namespace()), (Step::Check, not_run())];
    assert_eq!(play(apache, &as_it_stands), not_known(why));
    let once = [(Step::ReadBack, ok()), (Step::CheckPrivately(NEW), fails("new")), (Step::CheckPrivately(OLD), ok())];
    let script = [once.as_slice(), &[(Step::CheckPrivately(NEW), not_run())]].concat();
    let both = "no such program; of the new generation it had said before: new";
    assert_eq!(play(situation(), &script), not_known(both), "refused once, it stays out");
}

#[test]
fn an_old_generation_that_cannot_be_shown_in_private_is_judged_where_it_stands() {
    let begin = [
        (Step::ReadBack, ok()),
        (Step::CheckPrivately(NEW), fails("new")),
        (Step::CheckPrivately(OLD), no_namespace()),
        (Step::Check, ok()),
        (Step::CheckPrivately(NEW), fails("again")),
    ];
    assert_eq!(play(situation(), &begin), TurnOutcome::Owed(Owed::Refused("new".into())));
    let script = [&begin[..3], &[(Step::Check, fails("old")), (Step::Switch(NEW), ok())]].concat();
    let without_us = Owed::BrokenWithoutUs { new: "new".into(), old: "old".into() };
    assert_eq!(play(situation(), &script), TurnOutcome::Owed(without_us));
    // Where it does not stand, nobody says that it fails too.
    let elsewhere = Situation { linked: Some(NEW), provable: false, ..situation() };
    assert_eq!(play(elsewhere, &begin[..3]), TurnOutcome::Owed(Owed::CheckFailed("new".into())));
}

#[test]
fn the_first_turn_switches_checks_and_never_takes_back() {
    let first = Situation { linked: None, acknowledged: None, ..situation() };
    let outcome = play(first, &[(Step::ReadBack, ok()), (Step::Switch(NEW), ok()), (Step::Check, fails("new"))]);
    assert_eq!(outcome, TurnOutcome::Owed(Owed::CheckFailed("new".into())));
}

#[test]
fn a_generation_that_drops_a_denied_leaf_is_never_taken_back() {
    let denied = Situation { drops_denied: true, ..situation() };
    let kept = TurnOutcome::Owed(Owed::RefusedButKept("new".into()));
    let begin = [(Step::ReadBack, ok()), (Step::CheckPrivately(NEW), fails("new")), (Step::CheckPrivately(OLD), ok())];
    for third in [fails("again"), no_namespace()] {
        let script = [begin.as_slice(), &[(Step::CheckPrivately(NEW), third), (Step::Switch(NEW), ok())]].concat();
        assert_eq!(play(denied.clone(), &script), kept);
    }
    let in_place = [
        (Step::ReadBack, ok()),
        (Step::CheckPrivately(NEW), no_namespace()),
        (Step::Check, ok()),
        (Step::Switch(NEW), ok()),
        (Step::Check, fails("new")),
    ];
    assert_eq!(play(denied, &in_place), kept);
}

#[test]
fn after_a_crash_the_turn_proves_first_and_tells_only_if_unproven() {
    let crashed = Situation { linked: Some(NEW), ..situation() };
    assert_eq!(play(crashed.clone(), &[(FIRST, proof(Proof::Proven))]), settled(Evidence::Proven));
    for unproven in [
        Proof::Refuted(why()),
        Proof::NotYet(why()),
        Proof::NotWired(why()),
        Proof::ChainOnly(why()),
        Proof::Unverifiable(why()),
        Proof::Unreachable(why()),
    ] {
        let script = [
            (FIRST, proof(unproven)),
            (Step::ReadBack, ok()),
            (Step::CheckPrivately(NEW), ok()),
            (Step::Reload, ok()),
            (RELOADED, proof(Proof::Proven)),
        ];
        assert_eq!(play(crashed.clone(), &script), settled(Evidence::Proven));
    }
}

#[test]
fn after_a_crash_a_target_without_proof_is_told_again_and_after_success_never() {
    let crashed = Situation { linked: Some(NEW), provable: false, ..situation() };
    let script = [(Step::ReadBack, ok()), (Step::CheckPrivately(NEW), ok()), (Step::Reload, ok())];
    let outcome = play(crashed, &script);
    assert!(matches!(outcome, TurnOutcome::Settled(Evidence::ReloadedNotProven(_))));
    let done = play(Situation { provable: false, ..placed() }, &[]);
    assert!(matches!(done, TurnOutcome::Settled(Evidence::ReloadedNotProven(_))));
}

#[test]
fn a_target_that_is_not_wired_is_told_once_a_generation() {
    let not_wired = || proof(Proof::NotWired(why()));
    let owed = TurnOutcome::Owed(Owed::Unproven(Proof::NotWired(why())));
    let first = Situation { linked: None, acknowledged: None, ..situation() };
    let script = [
        (Step::ReadBack, ok()),
        (Step::Switch(NEW), ok()),
        (Step::Check, ok()),
        (Step::Reload, ok()),
        (RELOADED, not_wired()),
    ];
    assert_eq!(play(first, &script), owed);
    let again = Situation { acknowledged: None, reloaded: Some(NEW), ..placed() };
    assert_eq!(play(again.clone(), &[(FIRST, not_wired())]), owed, "not told again");
    assert_eq!(play(again.clone(), &[(FIRST, proof(Proof::Proven))]), settled(Evidence::Proven), "once included");
    // Included by now, but serving something else: that is worth telling.
    assert_eq!(Turn::begin(again.clone()).0.on(proof(Proof::Refuted(why()))), Step::ReadBack);
    let next = Situation { reloaded: Some(OLD), ..again };
    assert_eq!(Turn::begin(next).0.on(not_wired()), Step::ReadBack, "another generation is told");
}

#[test]
fn lines_that_the_server_has_not_loaded_are_loaded_by_one_reload() {
    let unseen = || Event::NotLoaded(Proof::Unverifiable(why()));
    let not_wired = Situation { acknowledged: None, reloaded: Some(NEW), ..placed() };
    let script = [(FIRST, unseen()), (Step::ReadBack, ok()), (Step::Check, ok()), (Step::Reload, ok())];
    let script = [script.as_slice(), &[(RELOADED, unseen())]].concat();
    assert_eq!(play(not_wired.clone(), &script), settled(Evidence::ReloadedNotProven(why())));
    assert_eq!(play(placed(), &[(FIRST, unseen())]), settled(Evidence::ReloadedNotProven(why())), "not again");
    // Asked in the configuration by now: what is loaded may be the one that did not.
    let script = [&[(FIRST, Event::NotLoaded(Proof::Proven))], &script[1..4], &[(RELOADED, proof(Proof::Proven))]];
    assert_eq!(play(not_wired, &script.concat()), settled(Evidence::Proven));
}

/// Every sequence of what can be seen of a server over five turns, by a state that outlives each process.
#[test]
fn however_a_server_shows_itself_it_is_told_once_a_generation_unless_telling_can_help() {
    let seen = answers_to(&FIRST);
    let now = Timestamp::from_unix(0);
    let mut sequences = 0_u32;
    for first in [TargetState::default(), TargetState { acknowledged: Some(OLD), ..TargetState::default() }] {
        for code in 0..seen.len().pow(5) {
            let mut state = first.clone();
            let mut linked = state.acknowledged;
            let (mut reloads, mut can_help, mut rest) = (0, 0, code);
            for _ in 0..5 {
                let shown = &seen[rest % seen.len()];
                rest /= seen.len();
                let (acknowledged, reloaded) = (state.acknowledged, state.reloaded);
                let again = linked == Some(NEW) && (reloaded == Some(NEW) || acknowledged == Some(NEW));
                let reload_again = reload_is_due(state.reloads, state.last_reload, now);
                let unenforced = state.unenforced;
                let begin = Situation { linked, acknowledged, reloaded, unenforced, reload_again, ..situation() };
                let (mut turn, mut step) = Turn::begin(begin);
                let outcome = loop {
                    let event = match &step {
                        Step::Finish(outcome) => break outcome.clone(),
                        Step::Prove { reloaded } => {
                            let helps = match shown {
                                Event::Proof(Proof::Refuted(_)) => reload_again,
                                Event::NotLoaded(_) => acknowledged != Some(NEW),
                                // All that settles.
                                Event::Proof(Proof::Proven | Proof::AllowlistUnseen(_) | Proof::Unverifiable(_)) => {
                                    unenforced
                                }
                                _ => false,
                            };
                            can_help += u32::from(!reloaded && again && helps);
                            shown.clone()
                        }
                        Step::Switch(number) => {
                            linked = Some(*number);
                            ok()
                        }
                        Step::Reload => {
                            reloads += 1;
                            state.reload(now);
                            ok()
                        }
                        _ => ok(),
                    };
                    step = turn.on(event);
                };
                match &outcome {
                    TurnOutcome::Settled(evidence) => state.settle(NEW, evidence, now),
                    TurnOutcome::Owed(owed) => state.owe(NEW, owed, now),
                }
            }
            sequences += 1;
            assert_eq!(reloads, 1 + can_help, "{code}: {state:?}");
        }
    }
    assert!(sequences > 100_000, "only {sequences}");
}

#[test]
fn one_that_no_reload_brings_to_the_generation_is_only_looked_at_for_a_while() {
    let refuted = || proof(Proof::Refuted(why()));
    let again = Situation { acknowledged: None, reloaded: Some(NEW), ..placed() };
    assert_eq!(Turn::begin(again.clone()).0.on(refuted()), Step::ReadBack);
    let waits = Situation { reload_again: false, ..again };
    assert_eq!(play(waits, &[(FIRST, refuted())]), TurnOutcome::Owed(Owed::Unproven(Proof::Refuted(why()))));
    // Where the server was never reloaded for this one, it always is.
    let next = Situation { linked: Some(NEW), reload_again: false, ..situation() };
    assert_eq!(Turn::begin(next).0.on(refuted()), Step::ReadBack);
}

#[test]
fn a_refused_generation_is_tried_again_in_the_next_cycle() {
    // What a refusal leaves behind is the situation that it began from.
    let (_, step) = Turn::begin(situation());
    assert_eq!(step, Step::ReadBack);
    // What a broken server leaves behind is compared with what it has loaded, without touching the link.
    let broken = Situation { linked: Some(NEW), ..situation() };
    let begun =
        [(FIRST, proof(Proof::Refuted(why()))), (Step::ReadBack, ok()), (Step::CheckPrivately(NEW), fails("still"))];
    let and = |more: &[(Step, Event)]| [&begun[..], more].concat();
    let still_broken = and(&[(Step::CheckPrivately(OLD), fails("too"))]);
    let owed = Owed::BrokenWithoutUs { new: "still".into(), old: "too".into() };
    assert_eq!(play(broken.clone(), &still_broken), TurnOutcome::Owed(owed));
    // By now the server was mended, and this generation alone is in its way: then it is taken back.
    let mended = and(&[
        (Step::CheckPrivately(OLD), ok()),
        (Step::CheckPrivately(NEW), fails("still")),
        (Step::Switch(OLD), ok()),
    ]);
    assert_eq!(play(broken, &mended), TurnOutcome::Owed(Owed::Refused("still".into())));
}

#[test]
fn a_server_that_shows_nothing_is_reloaded_not_proven() {
    let told = play(
        situation(),
        &[
            (Step::ReadBack, ok()),
            (Step::CheckPrivately(NEW), ok()),
            (Step::Switch(NEW), ok()),
            (Step::Reload, ok()),
            (RELOADED, proof(Proof::Unverifiable(why()))),
        ],
    );
    assert_eq!(told, settled(Evidence::ReloadedNotProven(why())));
    let later = play(placed(), &[(FIRST, proof(Proof::Unverifiable(why())))]);
    assert_eq!(later, settled(Evidence::ReloadedNotProven(why())), "and is not told again");
}

#[test]
fn an_acknowledged_server_that_does_not_answer_was_proven_earlier() {
    let outcome = play(placed(), &[(FIRST, proof(Proof::Unreachable(why())))]);
    assert_eq!(outcome, settled(Evidence::ProvenEarlier(why())));
    // One that was told just now and does not answer is owed.
    let script = [
        (Step::ReadBack, ok()),
        (Step::CheckPrivately(NEW), ok()),
        (Step::Switch(NEW), ok()),
        (Step::Reload, ok()),
        (RELOADED, proof(Proof::Unreachable(why()))),
    ];
    assert_eq!(play(situation(), &script), TurnOutcome::Owed(Owed::Unproven(Proof::Unreachable(why()))));
}

#[test]
fn chain_only_settles_only_where_the_allowlist_cannot_show_itself() {
    let blind = Situation { allowlist_provable: false, ..placed() };
    assert_eq!(play(blind, &[(FIRST, proof(Proof::ChainOnly(why())))]), settled(Evidence::ChainOnly(why())));
    let owed = TurnOutcome::Owed(Owed::Unproven(Proof::ChainOnly(why())));
    assert_eq!(play(placed(), &[(FIRST, proof(Proof::ChainOnly(why())))]), owed, "and it is not told again");
}

#[test]
fn the_allowlist_alone_settles_only_where_the_chain_cannot_show_itself() {
    let only = || proof(Proof::AllowlistOnly(why()));
    let without_marker = Situation { chain_provable: false, ..placed() };
    assert_eq!(play(without_marker, &[(FIRST, only())]), settled(Evidence::AllowlistOnly(why())));
    let owed = TurnOutcome::Owed(Owed::Unproven(Proof::AllowlistOnly(why())));
    assert_eq!(play(placed(), &[(FIRST, only())]), owed, "and it is not told again");
}

#[test]
fn an_allowlist_that_is_never_asked_is_owed_and_telling_again_would_not_help() {
    let outcome = play(placed(), &[(FIRST, proof(Proof::NotEnforced("a server".into())))]);
    assert_eq!(outcome, TurnOutcome::Owed(Owed::Unproven(Proof::NotEnforced("a server".into()))));
}

#[test]
fn one_that_was_seen_not_to_enforce_is_acquitted_by_a_reload_alone_whatever_happens_in_between() {
    let now = Timestamp::from_unix(0);
    let in_between = [
        Owed::CheckFailed(why()),
        Owed::NotReloaded(why()),
        Owed::Unanswered(why()),
        Owed::Withheld(why()),
        Owed::Unproven(Proof::Unreachable(why())),
    ];
    for between in in_between {
        let mut state = TargetState::default();
        state.owe(NEW, &Owed::Unproven(Proof::NotEnforced(why())), now);
        state.owe(NEW, &between, now);
        for good in [Proof::Proven, Proof::AllowlistUnseen(why()), Proof::Unverifiable(why())] {
            let next = Situation {
                acknowledged: state.acknowledged,
                reloaded: state.reloaded,
                unenforced: state.unenforced,
                ..placed()
            };
            assert_eq!(Turn::begin(next).0.on(proof(good)), Step::ReadBack, "{between:?}");
        }
        state.settle(NEW, &Evidence::Proven, now);
        assert!(!state.unenforced, "and is a server like any other from then on");
    }
}

#[test]
fn what_has_not_loaded_the_generation_is_reloaded_before_it_is_called_not_enforced() {
    let not_enforced = || proof(Proof::NotEnforced("a server".into()));
    let next = Situation { linked: Some(NEW), reloaded: Some(OLD), ..situation() };
    let script = [
        (FIRST, not_enforced()),
        (Step::ReadBack, ok()),
        (Step::CheckPrivately(NEW), ok()),
        (Step::Reload, ok()),
        (RELOADED, not_enforced()),
    ];
    let owed = TurnOutcome::Owed(Owed::Unproven(Proof::NotEnforced("a server".into())));
    assert_eq!(play(next, &script), owed);
    let again = Situation { acknowledged: None, reloaded: Some(NEW), ..placed() };
    assert_eq!(play(again, &[(FIRST, not_enforced())]), owed, "and once is enough");
}

#[test]
fn a_reload_that_failed_settles_nothing_by_an_earlier_one() {
    let now = Timestamp::from_unix(0);
    let mut state = TargetState::default();
    state.settle(NEW, &Evidence::Proven, now);
    assert_eq!(state.reloaded, Some(NEW));
    state.owe(NEW, &Owed::Unproven(Proof::Refuted(why())), now);
    assert_eq!(state.reloaded, Some(NEW), "it was loaded once");
    state.owe(NEW, &Owed::NotReloaded(why()), now);
    let next = Situation { acknowledged: state.acknowledged, reloaded: state.reloaded, ..placed() };
    assert_eq!(Turn::begin(next).0.on(proof(Proof::Unverifiable(why()))), Step::ReadBack);
    state.reloaded = Some(OLD);
    state.owe(NEW, &Owed::NotReloaded(why()), now);
    assert_eq!(state.reloaded, Some(OLD), "of another one nothing was said");
}

#[test]
fn the_operators_confirmation_settles_what_nothing_shows() {
    // Told, and nobody knows: by a systemd that cannot be reached, say, and then by hand.
    let said = Situation { linked: Some(NEW), acknowledged: Some(OLD), confirmed: true, ..situation() };
    for unseen in
        [Proof::Unreachable(why()), Proof::Unverifiable(why()), Proof::NotWired(why()), Proof::ChainOnly(why())]
    {
        assert_eq!(play(said.clone(), &[(FIRST, proof(unseen.clone()))]), settled(Evidence::Confirmed(why())));
        // It stays settled in the cycles after it, and is not told again.
        let later = Situation { acknowledged: Some(NEW), ..said.clone() };
        assert_eq!(play(later, &[(FIRST, proof(unseen))]), settled(Evidence::Confirmed(why())));
    }
    let blind = Situation { provable: false, ..said.clone() };
    assert!(matches!(play(blind, &[]), TurnOutcome::Settled(Evidence::Confirmed(_))));
    assert_eq!(play(said, &[(FIRST, proof(Proof::Proven))]), settled(Evidence::Proven), "a proof is more than a word");
}

#[test]
fn the_operators_confirmation_does_not_stand_against_proof_of_the_contrary() {
    let said = Situation { confirmed: true, ..placed() };
    let not_enforced = Proof::NotEnforced("a server".into());
    assert_eq!(
        play(said.clone(), &[(FIRST, proof(not_enforced.clone()))]),
        TurnOutcome::Owed(Owed::Unproven(not_enforced))
    );
    let not_yet = || Proof::NotYet(why());
    assert_eq!(play(said.clone(), &[(FIRST, proof(not_yet()))]), TurnOutcome::Owed(Owed::Unproven(not_yet())));
    let contrary = Proof::Refuted(why());
    let mut script = vec![(FIRST, proof(contrary)), (Step::ReadBack, ok()), (Step::Check, ok()), (Step::Reload, ok())];
    // Not even what is seen after it was told makes the word good again.
    script.push((RELOADED, proof(Proof::Unreachable(why()))));
    assert_eq!(play(said.clone(), &script), TurnOutcome::Owed(Owed::Unproven(Proof::Unreachable(why()))));
    *script.last_mut().unwrap() = (RELOADED, proof(Proof::Proven));
    assert_eq!(play(said, &script), settled(Evidence::Proven));
}

#[test]
fn the_operators_confirmation_places_nothing() {
    // A link that stands elsewhere is brought here, checked and told of, word or not.
    let said = Situation { confirmed: true, ..situation() };
    assert_eq!(Turn::begin(said.clone()).1, Step::ReadBack);
    let begun = [(Step::ReadBack, ok()), (Step::CheckPrivately(NEW), fails("new")), (Step::CheckPrivately(OLD), ok())];
    let script = [begun.as_slice(), &[(Step::CheckPrivately(NEW), fails("again"))]].concat();
    assert_eq!(play(said, &script), TurnOutcome::Owed(Owed::Refused("new".into())));
}

#[test]
fn the_operator_can_have_the_whole_turn_again() {
    let forced = Situation { forced: true, ..placed() };
    let script = [(Step::ReadBack, ok()), (Step::Check, ok()), (Step::Reload, ok()), (RELOADED, proof(Proof::Proven))];
    assert_eq!(play(forced.clone(), &script), settled(Evidence::Proven));
    let unprovable = Situation { provable: false, ..forced };
    let outcome = play(unprovable, &[(Step::ReadBack, ok()), (Step::Check, ok()), (Step::Reload, ok())]);
    assert!(matches!(outcome, TurnOutcome::Settled(Evidence::ReloadedNotProven(_))));
}

#[test]
fn a_server_that_cannot_be_told_or_checked_is_switched_and_proven() {
    let bare = Situation { checkable: false, can_be_reloaded: false, ..situation() };
    let script = [(Step::ReadBack, ok()), (Step::Switch(NEW), ok()), (RELOADED, proof(Proof::Proven))];
    assert_eq!(play(bare.clone(), &script), settled(Evidence::Proven));
    let unprovable = Situation { provable: false, ..bare };
    let outcome = play(unprovable, &[(Step::ReadBack, ok()), (Step::Switch(NEW), ok())]);
    assert!(matches!(outcome, TurnOutcome::Settled(Evidence::ReloadedNotProven(_))));
}

#[test]
fn what_does_not_work_is_owed_in_its_own_words() {
    assert_eq!(play(situation(), &[(Step::ReadBack, fails("no"))]), TurnOutcome::Owed(Owed::Unreadable("no".into())));
    let start = [(Step::ReadBack, ok()), (Step::CheckPrivately(NEW), ok())];
    let script = [start.as_slice(), &[(Step::Switch(NEW), fails("no"))]].concat();
    assert_eq!(play(situation(), &script), TurnOutcome::Owed(Owed::NotSwitched("no".into())));
    let script = [start.as_slice(), &[(Step::Switch(NEW), ok()), (Step::Reload, fails("no"))]].concat();
    assert_eq!(play(situation(), &script), TurnOutcome::Owed(Owed::NotReloaded("no".into())));
}

#[test]
fn every_owed_says_what_it_is_about() {
    for owed in [
        Owed::Unreadable(why()),
        Owed::NotSwitched(why()),
        Owed::Refused(why()),
        Owed::RefusedButKept(why()),
        Owed::BrokenWithoutUs { new: "its new words".into(), old: why() },
        Owed::BrokenBefore(why()),
        Owed::CheckFailed(why()),
        Owed::CheckNotRun(why()),
        Owed::NotReloaded(why()),
        Owed::Unproven(Proof::NotWired(why())),
        Owed::Unproven(Proof::ChainOnly(why())),
        Owed::Unproven(Proof::NotEnforced(why())),
        Owed::Unproven(Proof::Refuted(why())),
        Owed::Unproven(Proof::NotYet(why())),
        Owed::Unproven(Proof::Unreachable(why())),
        Owed::Unproven(Proof::Unverifiable(why())),
    ] {
        let finding = owed.finding("nginx", NEW);
        assert_eq!(finding.subject, Subject::target("nginx"));
        assert!(finding.event.name().starts_with("target_"), "{}", finding.event);
        assert!(finding.text.contains("because"), "{}", finding.text);
        if matches!(owed, Owed::BrokenWithoutUs { .. }) {
            assert!(finding.text.contains("its new words"), "both outputs");
        }
        let bytes = serde_json::to_vec(&owed).unwrap();
        assert_eq!(serde_json::from_slice::<Owed>(&bytes).unwrap(), owed, "kept in state.json");
    }
}

/// What can come of a step, honestly.
fn answers_to(step: &Step) -> Vec<Event> {
    match step {
        Step::CheckPrivately(_) => vec![ok(), fails("no"), not_run(), no_namespace()],
        Step::Check => vec![ok(), fails("no"), not_run()],
        Step::ReadBack | Step::Switch(_) | Step::Reload => vec![ok(), fails("no")],
        Step::Prove { .. } => [
            Proof::Proven,
            Proof::ChainOnly(why()),
            Proof::AllowlistUnseen(why()),
            Proof::AllowlistOnly(why()),
            Proof::NotEnforced(why()),
            Proof::NotWired(why()),
            Proof::NotYet(why()),
            Proof::Refuted(why()),
            Proof::Unverifiable(why()),
            Proof::Unreachable(why()),
        ]
        .map(Event::Proof)
        .into_iter()
        .chain([Event::NotLoaded(Proof::Proven), Event::NotLoaded(Proof::Unverifiable(why()))])
        .collect(),
        Step::Finish(_) => Vec::new(),
    }
}

fn every_situation() -> Vec<Situation> {
    let mut situations = Vec::new();
    for bits in 0..4096_u32 {
        let bit = |at: u32| bits & (1 << at) != 0;
        for linked in [None, Some(OLD), Some(NEW), Some(NEW + 1)] {
            for acknowledged in [None, Some(OLD), Some(NEW)] {
                for reloaded in [None, Some(OLD), Some(NEW)] {
                    situations.push(Situation {
                        wanted: NEW,
                        linked,
                        acknowledged,
                        reloaded,
                        unenforced: bit(11),
                        reload_again: true,
                        checkable: bit(0),
                        can_be_reloaded: bit(1),
                        provable: bit(2),
                        allowlist_provable: bit(3),
                        drops_denied: bit(4),
                        forced: bit(5),
                        confirmed: bit(6),
                        chain_provable: bit(7),
                        checkable_in_place: bit(8),
                        checkable_privately: bit(9),
                        linked_reads_back: bit(10),
                    });
                }
            }
        }
    }
    situations
}

/// What was asked, and what came of it.
type Path = Vec<(Step, Event)>;

/// The whole tree of a turn; `judge` sees each path from its begin to its finish.
fn walk(turn: &Turn, step: Step, path: &mut Path, judge: &mut dyn FnMut(&Path, &TurnOutcome)) {
    assert!(path.len() <= 12, "it does not end: {path:?}");
    if let Step::Finish(outcome) = &step {
        return judge(path, outcome);
    }
    for event in answers_to(&step) {
        let mut next = turn.clone();
        let then = next.on(event.clone());
        path.push((step.clone(), event));
        walk(&next, then, path, judge);
        path.pop();
    }
}

#[test]
fn a_server_that_reads_at_each_request_is_never_switched_to_be_judged() {
    let apache = Situation { checkable_in_place: false, ..situation() };
    let (mut turn, step) = Turn::begin(apache);
    assert_eq!(step, Step::ReadBack);
    assert_eq!(turn.on(ok()), Step::CheckPrivately(NEW));
    assert_eq!(turn.on(no_namespace()), Step::Check, "before anything moves");
    assert_eq!(turn.clone().on(fails("old")), Step::Finish(TurnOutcome::Owed(Owed::BrokenBefore("old".into()))));
    assert_eq!(turn.on(ok()), Step::Switch(NEW));
    assert_eq!(turn.on(ok()), Step::Check, "a reload would end it if this failed");
    assert_eq!(turn.clone().on(ok()), Step::Reload);
    // What it refuses goes back, and is not put there again to be blamed.
    assert_eq!(turn.on(fails("new")), Step::Switch(OLD));
    assert_eq!(turn.on(ok()), Step::Check);
    assert_eq!(turn.clone().on(fails("old")), Step::Finish(TurnOutcome::Owed(Owed::BrokenBefore("old".into()))));
    assert_eq!(turn.on(ok()), Step::Finish(TurnOutcome::Owed(Owed::Refused("new".into()))));
    // The first generation stands there before anybody reads it.
    let (mut turn, _) =
        Turn::begin(Situation { linked: None, acknowledged: None, checkable_in_place: false, ..situation() });
    assert_eq!(turn.on(ok()), Step::Switch(NEW));
    assert_eq!(turn.on(ok()), Step::Check);
    assert_eq!(turn.on(fails("new")), Step::Finish(TurnOutcome::Owed(Owed::CheckFailed("new".into()))));
    // What stands there already is never exchanged for a comparison.
    let placed = Situation { linked: Some(NEW), provable: false, checkable_in_place: false, ..situation() };
    let script = [(Step::ReadBack, ok()), (Step::CheckPrivately(NEW), no_namespace()), (Step::Check, fails("new"))];
    assert_eq!(play(placed, &script), TurnOutcome::Owed(Owed::CheckFailed("new".into())));
}

#[test]
fn a_broken_server_that_reads_at_each_request_is_switched_only_for_a_denial_or_to_mend_what_stands_there() {
    let apache = Situation { checkable_in_place: false, ..situation() };
    for forward in
        [Situation { drops_denied: true, ..apache.clone() }, Situation { linked_reads_back: false, ..apache }]
    {
        let begin = [
            (Step::ReadBack, ok()),
            (Step::CheckPrivately(NEW), no_namespace()),
            (Step::Check, fails("old")),
            (Step::Switch(NEW), ok()),
        ];
        let with = |rest: &[(Step, Event)]| play(forward.clone(), &[&begin, rest].concat());
        let without_us = Owed::BrokenWithoutUs { new: "new".into(), old: "old".into() };
        assert_eq!(with(&[(Step::Check, fails("new"))]), TurnOutcome::Owed(without_us), "not told");
        let mended = with(&[(Step::Check, ok()), (Step::Reload, ok()), (RELOADED, proof(Proof::Proven))]);
        assert_eq!(mended, settled(Evidence::Proven));
    }
}

#[test]
fn whatever_happens_every_path_of_every_situation_keeps_its_promises() {
    let mut paths = 0_usize;
    for situation in every_situation() {
        let (turn, step) = Turn::begin(situation.clone());
        // Where the link stood, or else what the server has loaded.
        let other = |number: &u64| *number != NEW;
        let loaded = situation.acknowledged.filter(|known| situation.linked.is_some() && other(known));
        let old = situation.linked.filter(other).or(loaded);
        walk(&turn, step, &mut Vec::new(), &mut |path, outcome| {
            paths += 1;
            let shown = || format!("{situation:?}\n{path:#?}\n{outcome:?}");
            let mut link = situation.linked;
            let mut checked_in_link = false;
            let mut checked_privately = false;
            let mut last_check = None;
            let mut read_back = false;
            let mut reloaded = false;
            let mut switched_back = 0;
            let mut refused_privately = false;
            let mut last_check_of_old = None;
            for (step, event) in path {
                match step {
                    Step::ReadBack => read_back = *event == Event::Succeeded,
                    Step::CheckPrivately(number) => {
                        assert!(situation.checkable && situation.checkable_privately, "{}", shown());
                        assert!(*number == NEW || Some(*number) == old, "{}", shown());
                        refused_privately |= matches!(event, Event::Failed(_));
                        if *number == NEW {
                            checked_privately = *event == Event::Succeeded;
                        } else {
                            last_check_of_old = Some(*event == Event::Succeeded);
                        }
                    }
                    Step::Check => {
                        assert!(situation.checkable, "{}", shown());
                        if link == Some(NEW) {
                            checked_in_link = *event == Event::Succeeded;
                        } else {
                            last_check_of_old = Some(*event == Event::Succeeded);
                        }
                    }
                    Step::Switch(number) => {
                        assert!(read_back, "nothing is placed that did not read back: {}", shown());
                        assert_ne!(link, Some(*number), "a link that stands is not moved: {}", shown());
                        if *number != NEW {
                            assert_eq!(Some(*number), old, "{}", shown());
                            assert!(!situation.drops_denied, "never taken back: {}", shown());
                            switched_back += 1;
                        }
                        let judged = !situation.checkable || old.is_none() || last_check == Some(&Event::Succeeded);
                        let may_act = situation.checkable_in_place || situation.drops_denied;
                        let mends = !situation.linked_reads_back || refused_privately;
                        assert!(*number != NEW || judged || may_act || mends, "acts unjudged: {}", shown());
                        if *event == Event::Succeeded {
                            link = Some(*number);
                        }
                    }
                    Step::Reload => {
                        assert!(situation.can_be_reloaded && read_back, "{}", shown());
                        assert_eq!(link, Some(NEW), "{}", shown());
                        let checked = checked_in_link || checked_privately && situation.checkable_privately;
                        assert!(!situation.checkable || checked, "{}", shown());
                        // The one rule that keeps an Apache alive.
                        assert!(!situation.checkable || last_check == Some(&Event::Succeeded), "{}", shown());
                        assert!(!reloaded, "reloaded once a turn: {}", shown());
                        reloaded = *event == Event::Succeeded;
                    }
                    Step::Prove { reloaded: is_new } => {
                        assert!(situation.provable, "{}", shown());
                        assert_eq!(link, Some(NEW), "{}", shown());
                        assert_eq!(*is_new, reloaded || !situation.can_be_reloaded && read_back, "{}", shown());
                    }
                    Step::Finish(_) => panic!("{}", shown()),
                }
                if matches!(step, Step::CheckPrivately(_) | Step::Check) {
                    last_check = Some(event);
                }
            }
            assert!(situation.checkable_in_place || switched_back <= 1, "it flaps: {}", shown());
            let last_proof = path.iter().rev().find_map(|(_, event)| match event {
                Event::Proof(proof) | Event::NotLoaded(proof) => Some(proof),
                _ => None,
            });
            match outcome {
                TurnOutcome::Settled(evidence) => {
                    assert_eq!(link, Some(NEW), "{}", shown());
                    let is_acquitted =
                        reloaded || !situation.unenforced || !situation.can_be_reloaded || situation.confirmed;
                    // Nothing is seen of one without a proof, nor was it ever seen not to enforce.
                    assert!(is_acquitted || !situation.provable, "without a reload: {}", shown());
                    match evidence {
                        Evidence::Proven => assert_eq!(last_proof, Some(&Proof::Proven), "{}", shown()),
                        Evidence::ChainOnly(_) => {
                            let is_all_there_is = match last_proof {
                                Some(Proof::ChainOnly(_)) => !situation.allowlist_provable,
                                proof => matches!(proof, Some(Proof::AllowlistUnseen(_))),
                            };
                            assert!(is_all_there_is, "{}", shown());
                        }
                        Evidence::AllowlistOnly(_) => {
                            assert!(matches!(last_proof, Some(Proof::AllowlistOnly(_))), "{}", shown());
                            assert!(!situation.chain_provable, "{}", shown());
                        }
                        Evidence::ReloadedNotProven(_) => {
                            assert!(
                                reloaded
                                    || !situation.can_be_reloaded
                                    || situation.acknowledged == Some(NEW)
                                    || situation.reloaded == Some(NEW),
                                "{}",
                                shown()
                            );
                            assert!(
                                !situation.provable || matches!(last_proof, Some(Proof::Unverifiable(_))),
                                "{}",
                                shown()
                            );
                        }
                        Evidence::Confirmed(_) => {
                            assert!(situation.confirmed, "nobody said so: {}", shown());
                            let seen_otherwise = |event: &Event| {
                                let Event::Proof(proof) = event else { return false };
                                matches!(proof, Proof::Refuted(_) | Proof::NotEnforced(_) | Proof::NotYet(_))
                            };
                            assert!(!path.iter().any(|(_, event)| seen_otherwise(event)), "{}", shown());
                            assert_eq!(situation.provable, last_proof.is_some(), "{}", shown());
                        }
                        Evidence::ProvenEarlier(_) => {
                            assert_eq!(situation.acknowledged, Some(NEW), "{}", shown());
                            assert!(matches!(last_proof, Some(Proof::Unreachable(_))), "{}", shown());
                        }
                    }
                }
                TurnOutcome::Owed(Owed::Refused(_)) => {
                    assert_eq!(link, old, "after a refusal the link is the old one: {}", shown());
                    assert_eq!(last_check_of_old, Some(true), "blame needs an old one that passes: {}", shown());
                    assert!(!situation.drops_denied && !reloaded, "{}", shown());
                }
                TurnOutcome::Owed(Owed::RefusedButKept(_)) => {
                    assert!(situation.drops_denied && !reloaded, "{}", shown());
                    assert_eq!(link, Some(NEW), "{}", shown());
                }
                TurnOutcome::Owed(Owed::BrokenWithoutUs { .. }) => {
                    assert_eq!(link, Some(NEW), "switched forward all the same: {}", shown());
                    assert_ne!(last_check_of_old, Some(true), "{}", shown());
                }
                TurnOutcome::Owed(Owed::BrokenBefore(_)) => {
                    assert_eq!(link, old, "{}", shown());
                    assert!(!situation.checkable_in_place && !situation.drops_denied && !reloaded, "{}", shown());
                    assert_eq!(last_check_of_old, Some(false), "{}", shown());
                }
                TurnOutcome::Owed(Owed::CheckFailed(_)) => {
                    assert_eq!(link, Some(NEW), "{}", shown());
                    assert!(
                        matches!(last_check, Some(Event::Failed(_) | Event::NoNamespace(_))) && !reloaded,
                        "{}",
                        shown()
                    );
                    let stood_there = situation.linked == Some(NEW);
                    assert!(old.is_none() || stood_there, "there was nothing to compare with: {}", shown());
                }
                TurnOutcome::Owed(Owed::CheckNotRun(_)) => {
                    assert!(matches!(last_check, Some(Event::NotRun(_))) && !reloaded, "{}", shown());
                    assert!(!situation.drops_denied || link == Some(NEW), "{}", shown());
                }
                TurnOutcome::Owed(Owed::Withheld(_) | Owed::Unanswered(_)) => {
                    panic!("the machine itself asks no other half: {}", shown());
                }
                TurnOutcome::Owed(Owed::NotSwitched(_)) => {
                    assert!(matches!(path.last(), Some((Step::Switch(_), Event::Failed(_)))), "{}", shown());
                }
                TurnOutcome::Owed(Owed::Unreadable(_)) => {
                    assert!(matches!(path.last(), Some((Step::ReadBack, Event::Failed(_)))), "{}", shown());
                    assert_eq!(link, situation.linked, "{}", shown());
                }
                TurnOutcome::Owed(Owed::NotReloaded(_)) => {
                    assert!(matches!(path.last(), Some((Step::Reload, Event::Failed(_)))), "{}", shown());
                }
                TurnOutcome::Owed(Owed::Unproven(proof)) => {
                    assert_eq!(last_proof, Some(proof), "{}", shown());
                    assert_ne!(*proof, Proof::Proven, "{}", shown());
                }
            }
        });
    }
    assert!(paths > 10_000, "only {paths} paths");
}

/// An interpreter that answers with nonsense gets an end, not a panic, and never a settled one out of nothing.
#[test]
fn an_event_that_answers_no_step_ends_in_owing() {
    let nonsense = [ok(), fails("no"), not_run(), no_namespace(), proof(Proof::NotYet(why()))];
    for situation in every_situation() {
        for first in &nonsense {
            for second in &nonsense {
                let (mut turn, begin) = Turn::begin(situation.clone());
                let mut step = begin;
                let mut asked = 0;
                for event in [first, second].into_iter().cycle() {
                    if matches!(step, Step::Finish(_)) {
                        break;
                    }
                    asked += 1;
                    assert!(asked < 20, "{situation:?}");
                    step = turn.on(event.clone());
                }
                assert!(matches!(step, Step::Finish(_)));
                assert!(matches!(turn.on(ok()), Step::Finish(TurnOutcome::Owed(_))), "over is over");
            }
        }
    }
}

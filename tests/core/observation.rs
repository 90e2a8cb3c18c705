//! From what the vendor said to what each slot heard: sorting, judging one by one, and the identity that is learned,
//! listed, or waived.

use std::collections::BTreeSet;
use std::time::Duration;

use support::cpu_time;
use support::ladder::{broad_ladder, ladder};
use support::leaves::*;
use trustsync::exit::Exit;
use trustsync::genesys::Region;
use trustsync::genesys::wire::Entity;
use trustsync::simulator::pem_form::PemForm;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::plan::observation::{
    self, IdentityRule, ListedStatus, SlotAnchors, SlotAnswer, SlotRules, SlotVerdict,
};
use trustsync::trust::verify::refusal::Rule;
use trustsync::trust::verify::work::Work;
use trustsync::trust::verify::{Identity, Policy};

fn hear(answer: &Answer, rules: SlotRules) -> SlotAnswer {
    let said = interpret("us", &answer.poll(), &[rules], day(0));
    said.answers.into_iter().next().unwrap()
}

fn outcomes(answer: &SlotAnswer) -> Vec<(ListedStatus, &'static str)> {
    let word = |judged: &SlotVerdict| match judged {
        SlotVerdict::Accepted(_) => "accepted",
        SlotVerdict::Expired(..) => "expired",
        SlotVerdict::Refused(_) => "refused",
    };
    let mut outcomes: Vec<_> =
        answer.certificates.iter().map(|listed| (listed.status, word(&listed.verdict))).collect();
    outcomes.sort_unstable();
    outcomes
}

#[test]
fn the_two_listings_are_one_union_in_which_each_leaf_stands_once() {
    let [current, upcoming] = [leaf(-200, 80), leaf(-5, 400)];
    let mut answer = Answer::of(&[&current], &[&upcoming]);
    // Both again in the other listing, in other bytes.
    let canonical = |leaf: &Leaf| PemForm::Canonical.text(&leaf.path);
    answer = answer.and(entity("DIGICERT", "UPCOMING", &canonical(&upcoming)));
    answer.upcoming.as_mut().unwrap().push(entity("digicert", "current", &canonical(&current)));
    let answer = hear(&answer, digicert_slot("us"));
    assert_eq!(outcomes(&answer), [(ListedStatus::Current, "accepted"), (ListedStatus::Upcoming, "accepted")]);
    assert!(answer.complete);
}

#[test]
fn each_entity_is_judged_by_itself() {
    let good = leaf(-200, 80);
    let answer = Answer::of(&[&good, &leaf(-300, -1), &refused_leaf(-1, 100)], &[&refused_leaf(-1, 400)])
        .and(entity("DigiCert", "Current", "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----"))
        .and(Entity { certificate: None, ..entity("DigiCert", "Current", "") });
    let answer = hear(&answer, digicert_slot("us"));
    let expected = [
        (ListedStatus::Current, "accepted"),
        (ListedStatus::Current, "expired"),
        (ListedStatus::Current, "refused"),
        (ListedStatus::Current, "refused"),
        (ListedStatus::Current, "refused"),
        (ListedStatus::Upcoming, "refused"),
    ];
    assert_eq!(outcomes(&answer), expected);
}

#[test]
fn a_slot_hears_its_own_authority_alone() {
    let current = leaf(-200, 80);
    let witness = genesys_leaf("Genesys", NAME, &[NAME], -30, 300);
    let answer = Answer::of(&[&current], &[]).and(entity("genesys", "Current", &witness.text));
    for (rules, own) in [(digicert_slot("us"), &current), (genesys_slot("us"), &witness)] {
        let answer = hear(&answer, rules);
        assert_eq!(answer.certificates.len(), 1);
        assert_eq!(answer.certificates[0].verdict.fingerprint(), Some(own.fingerprint));
    }
}

#[test]
fn listings_that_contradict_each_other_are_counted_and_told() {
    let [current, one, two] = [leaf(-200, 80), leaf(-5, 400), leaf(-5, 410)];
    let mut store = MemoryStore::empty();
    let told = |store: &mut MemoryStore, answer: &Answer| store.poll(day(0), answer).said("listing_disagreement");
    assert_eq!(told(&mut store, &Answer::of(&[&current], &[&one])), None, "nobody documents that both have it");
    let both = Answer::of(&[&current], &[&one]).and(entity("DigiCert", "Upcoming", &one.text));
    assert_eq!(told(&mut store, &both), None);
    let different = Answer::of(&[&current], &[&one]).and(entity("DigiCert", "Upcoming", &two.text));
    assert_eq!(told(&mut store, &different), Some(Severity::Note));
    let in_both_states = Answer::of(&[&current, &one], &[&one]);
    assert_eq!(told(&mut store, &in_both_states), Some(Severity::Note));
    assert_eq!(store.planner.slots.values().next().unwrap().disagreements, 2);
    assert!(store.trusts(&two), "the union counts");
    // One listing alone contradicts nobody.
    assert_eq!(told(&mut store, &different.clone().without_upcoming()), None);
}

#[test]
fn a_vendors_text_in_a_finding_is_bounded_and_harmless() {
    let hostile = format!("\u{1b}[2J\n{}", "x".repeat(100_000));
    for strange in [
        Entity { signing_authority: Some(hostile.clone()), ..entity("", "Current", "") },
        entity("DigiCert", &hostile, ""),
        Entity { kind: Some(hostile.clone()), ..entity("DigiCert", "Current", "") },
        entity("DigiCert", "Current", &hostile),
    ] {
        let decided = MemoryStore::empty().poll(day(0), &Answer::of(&[], &[]).and(strange));
        for finding in &decided.findings {
            assert!(finding.text.len() < 2_000 && !finding.text.contains(['\u{1b}', '\n']), "{}", finding.text);
        }
    }
}

mod identity {
    use super::*;

    fn learned(store: &MemoryStore) -> Option<BTreeSet<String>> {
        store.planner.slots.values().next().and_then(|slot| slot.identity.clone())
    }

    fn set<const N: usize>(names: [&str; N]) -> Option<BTreeSet<String>> {
        Some(names.map(str::to_owned).into())
    }

    #[test]
    fn the_regions_name_is_the_identity_where_current_carries_it() {
        let current = leaf_with_names("Genesys Cloud", &["other.example.com", NAME], -30, 300);
        let mut store = MemoryStore::new([learning(Some(NAME))]);
        let decided = store.poll(day(0), &Answer::of(&[&current], &[]));
        assert_eq!(learned(&store), set([NAME]));
        assert_eq!(decided.said("identity_learned"), None, "nothing odd");
        let without = named_leaf("other.example.com", -30, 300);
        assert_eq!(store.poll(day(1), &Answer::of(&[&current], &[&without])).exit, Exit::Answer);
        assert!(!store.trusts(&without));
    }

    #[test]
    fn else_the_names_on_which_all_currents_agree_are_learned_and_stay() {
        let one = leaf_with_names("x", &["Shared.Example.com", "one.example.com"], -30, 300);
        let two = leaf_with_names("x", &["shared.example.com", "two.example.com"], -30, 310);
        let mut store = MemoryStore::new([learning(Some(NAME))]);
        let decided = store.poll(day(0), &Answer::of(&[&one, &two], &[]));
        assert_eq!(learned(&store), set(["shared.example.com"]));
        assert_eq!(decided.said("identity_learned"), Some(Severity::Warning));
        assert!(
            decided.text("identity_learned").contains("identity = [\"shared.example.com\"]"),
            "the line that pins it"
        );
        assert_eq!(store.pinned(), fingerprints([&one, &two]));
        // It stays, whatever later Currents agree on.
        let other = named_leaf("other.example.com", -1, 400);
        for at in 1..40 {
            let decided = store.poll(day(at), &Answer::of(&[&other], &[]));
            assert_eq!((decided.said("current_refused"), decided.exit), (Some(Severity::Critical), Exit::Answer));
        }
        assert_eq!(learned(&store), set(["shared.example.com"]));
        assert!(!store.trusts(&other));
        // And it is in the manifest.
        let slots = trustsync::trust::records::manifest::Manifest::slots_of(&store.planner);
        assert_eq!(slots.values().next().unwrap().identity, set(["shared.example.com"]));
    }

    #[test]
    fn a_merely_expired_current_counts_for_learning() {
        let expired = named_leaf("shared.example.com", -300, -1);
        let successor = named_leaf("shared.example.com", -5, 300);
        let mut store = MemoryStore::new([learning(None)]);
        store.poll(day(0), &Answer::of(&[&expired], &[&successor]));
        assert_eq!(learned(&store), set(["shared.example.com"]));
        assert_eq!(store.pinned(), fingerprints([&successor]));
    }

    #[test]
    fn nothing_is_learned_from_an_answer_that_is_not_whole_or_not_agreed() {
        let one = named_leaf("one.example.com", -30, 300);
        let two = named_leaf("two.example.com", -30, 300);
        let upcoming = named_leaf("up.example.com", -5, 400);
        for answer in [
            Answer::of(&[&one], &[]).without_upcoming(),
            Answer::of(&[&one], &[&upcoming]).without_unfiltered(),
            Answer::of(&[&one], &[]).and(entity("Entrust", "Current", "")),
            Answer::of(&[&one, &two], &[]),
            Answer::of(&[&one, &refused_leaf(-1, 100)], &[]),
            Answer::of(&[], &[&upcoming]),
            // Names that no leaf can be admitted by would bind the slot for ever.
            Answer::of(&[&leaf_with_names("quo\"te", &[], -30, 300)], &[]),
            Answer::of(&[&leaf_with_names("Ünïcode", &[], -30, 300)], &[]),
        ] {
            let mut store = MemoryStore::new([learning(None)]);
            let decided = store.poll(day(0), &answer);
            assert_eq!(learned(&store), None, "{answer:?}");
            assert!(store.set.is_empty());
            assert_ne!(decided.exit, Exit::Done);
            // The next whole answer begins anew.
            store.poll(day(1), &Answer::of(&[&one], &[]));
            assert_eq!(learned(&store), set(["one.example.com"]));
        }
    }

    #[test]
    fn a_list_pins_names_and_any_waives_them() {
        let stranger = named_leaf("stranger.example.com", -30, 300);
        let with = |identity: Identity| {
            let rules = SlotRules { identity: IdentityRule::Fixed(identity), ..digicert_slot("us") };
            let mut store = MemoryStore::new([rules]);
            let decided = store.poll(day(0), &Answer::of(&[&stranger], &[]));
            (store.trusts(&stranger), decided.exit, learned(&store))
        };
        assert_eq!(with(names([NAME])), (false, Exit::Answer, None));
        assert_eq!(with(names([NAME, "STRANGER.example.com"])), (true, Exit::Done, None), "a list is not learned");
        assert_eq!(with(Identity::Any), (true, Exit::Done, None));
        // "any" switches the identity off, not the verification.
        let rules = SlotRules { identity: IdentityRule::Fixed(Identity::Any), ..digicert_slot("us") };
        let mut store = MemoryStore::new([rules]);
        store.poll(day(0), &Answer::of(&[&refused_leaf(-30, 300)], &[]));
        assert!(store.set.is_empty());
    }

    #[test]
    fn a_region_without_a_name_learns_from_its_currents() {
        let region = Region::named("eusc-de-east-1").unwrap();
        assert_eq!(region.certificate_name, None);
        let current = named_leaf("dataactions.eusc.example", -30, 300);
        let mut store = MemoryStore::new([learning(region.certificate_name)]);
        let decided = store.poll(day(0), &Answer::of(&[&current], &[]));
        assert_eq!(learned(&store), set(["dataactions.eusc.example"]));
        assert_eq!(decided.exit, Exit::Done);
        assert!(store.trusts(&current));
    }

    #[test]
    fn an_upcoming_alone_teaches_nothing() {
        let current = named_leaf("one.example.com", -30, 80);
        let upcoming = named_leaf("two.example.com", -1, 400);
        let mut store = MemoryStore::new([learning(None)]);
        let decided = store.poll(day(0), &Answer::of(&[&current], &[&upcoming]));
        assert_eq!(learned(&store), set(["one.example.com"]));
        assert_eq!(decided.said("upcoming_refused"), Some(Severity::Critical));
        let text = decided.text("upcoming_refused");
        assert!(text.contains("one.example.com") && text.contains("two.example.com"), "{text}");
    }
}

/// An answer of ladders (see `support::ladder`) with one genuine leaf among them.
fn judge_ladders(work: &mut Work<'_>, strings: &[String], genuine: &Leaf) -> SlotAnswer {
    let mut answer = Answer::of(&[genuine], &[]);
    for text in strings {
        answer = answer.and(entity("DigiCert", "Upcoming", text));
    }
    let rules = digicert_slot("us");
    let slot = SlotAnchors { slot: rules.slot, authority: rules.authority, anchors: rules.anchors };
    let judged = observation::judge("us", &answer.poll(), &[slot], &Policy::default(), day(0), work);
    judged.interpret(|_| IdentityRule::Fixed(names([NAME]))).answers.remove(0)
}

#[test]
fn forged_strings_cost_no_more_than_the_answers_budget_and_keep_no_genuine_one_from_its_verdict() {
    let genuine = leaf(-200, 80);
    let strings: Vec<String> = (0..31).map(|_| ladder()).collect();
    let (mut work, begun) = (Work::default(), cpu_time());
    let answer = judge_ladders(&mut work, &strings, &genuine);
    let (taken, checked) = (cpu_time() - begun, work.signatures_checked());
    println!("{} bytes: {checked} signatures, {taken:?}", strings.iter().map(String::len).sum::<usize>());
    assert!((31..=1_024).contains(&checked), "{checked} signatures");
    assert!(taken < Duration::from_secs(2), "{taken:?}");
    assert!(answer.listed(ListedStatus::Current).all(|verdict| verdict.accepted().is_some()));
    assert!(answer.listed(ListedStatus::Upcoming).all(|verdict| verdict.accepted().is_none()));

    // The same strings again cost nothing new.
    let mut again = Work::default();
    let twice = [strings[..1].to_vec(), vec![format!("{}\n", strings[0])]].concat();
    judge_ladders(&mut again, &strings[..1], &genuine);
    let once = again.signatures_checked();
    let mut again = Work::default();
    judge_ladders(&mut again, &twice, &genuine);
    assert_eq!(again.signatures_checked(), once);
}

#[test]
fn what_one_authority_is_made_to_list_keeps_nothing_of_the_other_from_its_verdict() {
    let (current, witness) = (leaf(-200, 80), genesys_leaf("Genesys", NAME, &[NAME], -200, 80));
    let mut answer = Answer::of(&[&current], &[]).and(entity("Genesys", "Current", &witness.text));
    for _ in 0..31 {
        answer = answer.and(entity("DigiCert", "Upcoming", &broad_ladder()));
    }
    let slots = [digicert_slot("us"), genesys_slot("us")].map(|rules| SlotAnchors {
        slot: rules.slot,
        authority: rules.authority,
        anchors: rules.anchors,
    });
    let mut work = Work::default();
    let judged = observation::judge("us", &answer.poll(), &slots, &Policy::default(), day(0), &mut work);
    let answers = judged.interpret(|_| IdentityRule::Fixed(names([NAME]))).answers;
    println!("{} signatures", work.signatures_checked());
    for answer in &answers {
        let mut current = answer.listed(ListedStatus::Current);
        assert!(current.all(|verdict| verdict.accepted().is_some()), "{}: {:?}", answer.slot, outcomes(answer));
    }
}

#[test]
fn what_nobody_waits_for_is_refused_in_words_and_the_answer_counts_for_no_removal() {
    let genuine = leaf(-200, 80);
    let answer = judge_ladders(&mut Work::until(&|| true), &[], &genuine);
    let SlotVerdict::Refused(refusal) = answer.listed(ListedStatus::Current).next().unwrap() else { panic!() };
    assert_eq!(refusal.rule(), Rule::NotJudged, "{refusal}");
}

//! The x509-limbo family: 194 cases of C2SP's path validation corpus, recast as client validation
//! (<https://x509-limbo.com>), each judged by the policy that judges the vendor's certificates.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use support::cpu_time;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::formats::pem;
use trustsync::trust::values::timestamp::Timestamp;
use trustsync::trust::verify::anchor::Anchors;
use trustsync::trust::verify::crl::{Crl, given};
use trustsync::trust::verify::refusal::Refusal;
use trustsync::trust::verify::{Policy, Verdict, verify_string as judge};

#[derive(Deserialize)]
struct Corpus {
    testcases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    features: Vec<String>,
    trusted_certs: Vec<String>,
    untrusted_intermediates: Vec<String>,
    peer_certificate: String,
    #[serde(default)]
    crls: Vec<String>,
    validation_time: Option<String>,
    max_chain_depth: Option<usize>,
    expected_result: String,
    x_class: String,
}

/// The cases without a time are valid at the time when the corpus was generated, for fifty years.
const GENERATED: &str = "2026-11-01T00:00:00Z";

fn corpus() -> Vec<Case> {
    let text = include_str!("../data/limbo-client.json");
    serde_json::from_str::<Corpus>(text).unwrap().testcases
}

/// The default policy, but for what the corpus asks otherwise: certificates that live for centuries, clocks that agree to
/// the second, and as many certificates and as long paths as it has.
fn policy(case: &Case) -> Policy {
    Policy {
        max_validity: Duration::MAX,
        clock_skew: Duration::ZERO,
        max_certificates: 200,
        max_chain: case.max_chain_depth.map_or(8, |depth| depth.saturating_add(2)),
        ..Policy::default()
    }
}

fn moment(case: &Case) -> Timestamp {
    let text = case.validation_time.as_deref().unwrap_or(GENERATED);
    // Whole seconds are what trustsync knows; a fraction is cut off.
    let seconds = text.split(['.', '+']).next().unwrap().trim_end_matches('Z');
    format!("{seconds}Z").parse().unwrap()
}

fn verdict(case: &Case) -> Verdict {
    let mut anchors = Vec::new();
    for text in &case.trusted_certs {
        for block in pem::scan(text) {
            anchors.extend(block.bytes.ok().and_then(|der| Certificate::parse(&der).ok()));
        }
    }
    let text = case.peer_certificate.clone() + &case.untrusted_intermediates.concat();
    let verdict = judge(&text, &Anchors::of(anchors), &policy(case), moment(case));
    let Verdict::Accepted(candidate) = &verdict else { return verdict };
    let lists: Vec<_> = case.crls.iter().map(|text| (case.id.clone(), Crl::read(text.clone().into_bytes()))).collect();
    // As `trustsync verify --crl` asks them; there a list that cannot be used is a note, and decides under `hard`. The
    // corpus knows no lists for issuers.
    let ask = |hard| given::ask(candidate.leaf(), candidate.paths(), &lists, hard, Duration::ZERO, moment(case));
    let answer = ask(ask(false).unanswered);
    Refusal::of_violations(Some(candidate.leaf()), answer.violations).map_or(verdict, Verdict::Refused)
}

fn wrong(class: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for case in corpus().iter().filter(|case| case.x_class == class) {
        let verdict = verdict(case);
        let right = matches!(verdict, Verdict::Accepted(_)) == (case.expected_result == "SUCCESS");
        if !right {
            let words = match verdict {
                Verdict::Accepted(_) => "accepted".to_owned(),
                Verdict::Expired(_, refusal) | Verdict::Refused(refusal) => refusal.to_string(),
            };
            wrong.push(format!("{} (expected {}): {words}", case.id, case.expected_result));
        }
    }
    wrong
}

#[test]
fn whatever_must_be_accepted_is() {
    let wrong = wrong("must_accept");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whatever_must_be_rejected_is() {
    let wrong = wrong("must_reject");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whatever_is_recommended_is_done() {
    let wrong = wrong("recommended");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rest_is_counted() {
    let mut counts: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    let cases = corpus();
    for case in &cases {
        let right = matches!(verdict(case), Verdict::Accepted(_)) == (case.expected_result == "SUCCESS");
        *counts.entry((&case.x_class, right)).or_default() += 1;
    }
    for ((class, right), count) in &counts {
        println!("{class}: {count} {}", if *right { "as the corpus has it" } else { "otherwise" });
    }
    assert_eq!(cases.len(), 194);
}

#[test]
fn no_case_takes_long() {
    for case in corpus() {
        let begun = cpu_time();
        let _ = verdict(&case);
        let taken = cpu_time() - begun;
        assert!(taken < Duration::from_secs(5), "{} took {taken:?}", case.id);
        if case.features.iter().any(|feature| feature == "denial-of-service") {
            println!("{}: {taken:?}", case.id);
        }
    }
}

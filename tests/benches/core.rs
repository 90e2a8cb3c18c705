//! What a cycle's parts cost as the number of certificates grows: parse, verify, plan, render, publish. They should grow
//! no faster than the number does.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trustsync::marker;
use trustsync::simulator::pki::{CertificateAuthority, DAY, LeafRequest, Pki, Validity};
use trustsync::store::{Store, generation};
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::formats::pem;
use trustsync::trust::plan::observation::{self, IdentityRule, ListedEntity, Poll, SlotRules};
use trustsync::trust::plan::planner_state::PlannerState;
use trustsync::trust::plan::set::TrustSet;
use trustsync::trust::plan::{self, Plan};
use trustsync::trust::render::{Content, Label};
use trustsync::trust::values::marker_name::MarkerName;
use trustsync::trust::values::slot::{Authority, SlotId};
use trustsync::trust::values::timestamp::Timestamp;
use trustsync::trust::verify::anchor::Anchors;
use trustsync::trust::verify::{self, Identity, Policy};

const SIZES: [usize; 4] = [2, 20, 200, 2_000];
const NAME: &str = "dataactions.prod.us-east-1.mypurecloud.com";

/// A vendor that lists a great many certificates.
struct Listing {
    texts: Vec<String>,
    rules: SlotRules,
    now: Timestamp,
}

impl Listing {
    fn of(size: usize) -> Self {
        let now = Timestamp::from_unix(1_800_000_000);
        let pki = Pki::new("us-east-1", now, None).unwrap();
        let issuer: &CertificateAuthority = &pki.digicert_intermediate;
        let texts = (0..size)
            .map(|_| {
                let request = LeafRequest::client(NAME, Validity::of(now, DAY.saturating_mul(300)));
                let leaf = issuer.issue("Genesys Cloud Services, Inc.", &request).unwrap();
                let chain = leaf.with_issuers();
                chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect()
            })
            .collect();
        let anchors = Anchors::of(vec![Certificate::parse(pki.digicert_root.der()).unwrap()]);
        let slot = SlotId::new("bench", "us-east-1", Authority::DigiCert);
        let identity = IdentityRule::Fixed(Identity::Names(BTreeSet::from([NAME.to_owned()])));
        Self { texts, rules: SlotRules { slot, authority: Authority::DigiCert, anchors, identity }, now }
    }

    fn entities(&self) -> Vec<ListedEntity<'_>> {
        self.texts
            .iter()
            .map(|text| ListedEntity {
                authority: Some("DigiCert"),
                certificate: Some(text),
                status: Some("Current"),
                kind: Some("Client"),
            })
            .collect()
    }

    fn answers(&self) -> Vec<observation::SlotAnswer> {
        let poll =
            Poll { unfiltered: Some(self.entities()), upcoming: Some(Vec::new()), is_fresh: true, incomplete: false };
        support::leaves::interpret("bench", &poll, std::slice::from_ref(&self.rules), self.now).answers
    }

    fn plan(&self, answers: &[observation::SlotAnswer]) -> Plan {
        plan::plan(&plan::Input {
            planner: &PlannerState::default(),
            committed: &TrustSet::default(),
            configured: &BTreeSet::from([self.rules.slot.clone()]),
            answers,
            extra_anchors: &BTreeMap::new(),
            policy: &plan::Policy::default(),
            now: self.now,
            clock_doubted: false,
        })
    }
}

fn cycle(criterion: &mut Criterion) {
    let marker_name = MarkerName { store_id: "bench".to_owned(), generation: 1, digest_head: "00000000".to_owned() };
    let marker = Certificate::parse(&marker::mint(&marker_name).unwrap()).unwrap();
    let outputs = BTreeSet::from([trustsync::targets::nginx::OUTPUT]);
    for size in SIZES {
        let listing = Listing::of(size);
        let answers = listing.answers();
        let planned = listing.plan(&answers);
        assert_eq!(planned.set.pins.len(), size, "every certificate is accepted");
        let content = Content::of(&planned.set, &planned.planner, &outputs);
        let label = Label { store: "bench", generation: 1, committed: listing.now, cause: "bench", marker: &marker };
        let files = content.render(&label);

        let mut group = criterion.benchmark_group("cycle");
        group.throughput(Throughput::Elements(size as u64));
        group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
        group.bench_function(BenchmarkId::new("parse", size), |bencher| {
            bencher.iter(|| {
                let blocks = listing.texts.iter().flat_map(|text| pem::scan(text));
                blocks.filter_map(|block| Certificate::parse(&block.bytes.ok()?).ok()).count()
            });
        });
        group.bench_function(BenchmarkId::new("verify", size), |bencher| {
            bencher.iter(|| {
                let policy = Policy::default();
                let judge = |text| verify::verify_string(text, &listing.rules.anchors, &policy, listing.now);
                listing.texts.iter().filter(|text| matches!(judge(text), verify::Verdict::Accepted(_))).count()
            });
        });
        group.bench_function(BenchmarkId::new("plan", size), |bencher| {
            bencher.iter(|| black_box(listing.plan(&answers)));
        });
        group.bench_function(BenchmarkId::new("render", size), |bencher| {
            bencher.iter(|| black_box(content.render(&label)));
        });
        group.bench_function(BenchmarkId::new("publish", size), |bencher| {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("store")).unwrap();
            let mut number = 0;
            bencher.iter_batched(
                || {
                    number += 1;
                    number
                },
                |number| generation::write(store.root(), number, &files).unwrap(),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, cycle);
criterion_main!(benches);

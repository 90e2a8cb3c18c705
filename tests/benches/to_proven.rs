//! How long it takes from the vendor's answer until a server is proven to serve it: fifty rotations of each server, by the
//! whole cycle. Beside it, what the server alone needs: from its being told to its first new answer, and to its last old one.
//!
//!     cargo bench -p trustsync-benches --bench to_proven [-- SERVER]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use support::apache_stage;
use support::envoy::Envoy;
use support::haproxy_stage::{self, Way};
use support::jvm::{Flavour, Jvm};
use support::nginx_stage;
use support::service::{Language, Service};
use support::stage::Stage;
use trustsync::settings::resolved::{GenerationEvidence, WireProof};
use trustsync::targets::proof::{marker, wire};
use trustsync::trust::turn::Evidence;

const ROTATIONS: u32 = 50;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| argument != "--bench");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{ROTATIONS} rotations each, in ms; median and longest");
    println!("                                   poll to proven   told by hand: first new   no old any more");
    for name in ["nginx", "haproxy", "haproxy-socket", "apache", "envoy", "java", "go", "python", "node"] {
        if wanted.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        match name {
            "nginx" => runtime.block_on(nginx()),
            "haproxy" => runtime.block_on(haproxy("HAProxy, SIGUSR2", Way::Reload)),
            "haproxy-socket" => runtime.block_on(haproxy("HAProxy, runtime socket", Way::Runtime)),
            "apache" => runtime.block_on(apache()),
            "envoy" => runtime.block_on(envoy()),
            "java" => runtime.block_on(java()),
            "go" => runtime.block_on(service("Go service, watches", Language::Go)),
            "python" => runtime.block_on(service("Python service, watches", Language::Python)),
            "node" => runtime.block_on(service("Node.js service, watches", Language::Node)),
            _ => unreachable!(),
        }
    }
}

fn signal(signal: &str, pidfile: &std::path::Path) {
    let pid = std::fs::read_to_string(pidfile).unwrap();
    let sent = std::process::Command::new("kill").args([signal, pid.trim()]).status().unwrap();
    assert!(sent.success());
}

async fn nginx() {
    let mut stage = Stage::begin().await;
    let nginx = stage.serve("nginx", nginx_stage::PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    stage.cycle().await;
    nginx.rewrite(&stage.wired("nginx"));
    nginx.reload();
    let rotations = rotate(&mut stage).await;
    let own = tell_by_hand(&stage, "nginx", &nginx.address(), || signal("-HUP", &nginx.pidfile())).await;
    print("nginx, SIGHUP", rotations, Some(own));
}

async fn haproxy(what: &str, way: Way) {
    let mut stage = Stage::begin().await;
    let haproxy = stage.serve_haproxy("haproxy", way, haproxy_stage::PLAIN);
    stage.configure(&[("haproxy", &haproxy, None)]);
    stage.cycle().await;
    haproxy.rewrite(stage.wired_haproxy("haproxy"));
    haproxy.reload();
    let rotations = rotate(&mut stage).await;
    // Its socket takes files, not a link: by hand there is nothing to compare with.
    let own = match way {
        Way::Reload => {
            Some(tell_by_hand(&stage, "haproxy", &haproxy.address(), || signal("-USR2", &haproxy.pidfile())).await)
        }
        Way::Runtime => None,
    };
    print(what, rotations, own);
}

async fn apache() {
    let mut stage = Stage::begin().await;
    let apache = stage.serve_apache("apache", apache_stage::PLAIN);
    stage.configure(&[("apache", &apache, None)]);
    stage.cycle().await;
    apache.rewrite(&stage.wired_apache("apache"));
    apache.reload();
    let rotations = rotate(&mut stage).await;
    let own = tell_by_hand(&stage, "apache", &apache.address(), || signal("-USR1", &apache.pidfile())).await;
    print("Apache, SIGUSR1", rotations, Some(own));
}

async fn envoy() {
    let mut stage = Stage::begin().await;
    stage.configure_targets("[target.envoy]\nkind = \"envoy\"\n");
    stage.cycle().await;
    let configuration = trustsync::targets::envoy::snippet::whole(&stage.link("envoy"));
    let envoy = Envoy::start(&stage.root().join("server"), &configuration);
    stage.configure_targets(&format!(
        "[target.envoy]\nkind = \"envoy\"\nproof = {{ connect = [\"{}\"], server_name = \"api.example.com\", envoy = \
         \"{}\" }}\n",
        envoy.address(),
        envoy.admin()
    ));
    let rotations = rotate(&mut stage).await;
    let own = tell_by_hand(&stage, "envoy", &envoy.address(), || ()).await;
    print("Envoy, watches", rotations, Some(own));
}

async fn java() {
    let mut stage = Stage::begin().await;
    let truststore = "truststore-with-marker.p12";
    let jvm = Jvm::start(Flavour::Jdk, &stage.root().join("server"), &stage.link("java"), truststore);
    stage.configure_targets(&format!(
        "[target.java]\nkind = \"java\"\nproof = {{ connect = [\"{}\"], server_name = \"api.example.com\" }}\n",
        jvm.address()
    ));
    let rotations = rotate(&mut stage).await;
    let own = tell_by_hand(&stage, "java", &jvm.address(), || ()).await;
    print("Java, watches", rotations, Some(own));
}

/// A service that looks at its link by itself: moving the link is telling it.
async fn service(what: &str, language: Language) {
    let mut stage = Stage::begin().await;
    let target = |proof: String| {
        let marker = language.shows_chain();
        format!("[target.app]\nkind = \"generic\"\nreload = \"none\"\nmarker = {marker}\n{proof}\n")
    };
    stage.configure_targets(&target(String::new()));
    stage.cycle().await;
    let service = Service::start(language, &stage.root().join("service"), &stage.link("app"));
    let address = service.address();
    stage.configure_targets(&target(format!(
        "proof = {{ connect = [\"{address}\"], generation = \"header\", settle = \"0s\" }}"
    )));
    let rotations = rotate(&mut stage).await;
    let own = Some(tell_by_hand(&stage, "app", &address, || ()).await);
    print(what, rotations, own);
}

/// The time of each of many rotations, from the poll's begin to the proof.
async fn rotate(stage: &mut Stage) -> Vec<Duration> {
    assert_proven(&stage.cycle().await);
    let mut took = Vec::new();
    for rotation in 1..=ROTATIONS {
        stage.on_day(rotation * 15);
        stage.world().rotate().unwrap();
        let began = Instant::now();
        let report = stage.cycle().await;
        took.push(began.elapsed());
        assert!(report.committed, "{report:?}");
        assert_proven(&report);
    }
    took
}

fn assert_proven(report: &trustsync::cycle::Report) {
    // Python's ssl advertises no names: its allowlist is all that can be seen.
    let settled = &report.targets[0].settled;
    assert!(matches!(settled, Some(Evidence::Proven | Evidence::AllowlistOnly(_))), "{report:?}");
}

/// The time from the server's being told to its first answer with the other generation, and to its first one after the last
/// with the former, without trustsync.
async fn tell_by_hand(stage: &Stage, target: &str, address: &str, tell: impl Fn()) -> [Vec<Duration>; 2] {
    let newest = stage.linked(target);
    let by = WireProof {
        connect: vec![address.to_owned()],
        server_name: Some("api.example.com".to_owned()),
        generation: GenerationEvidence::None,
        marker: true,
        path: "/".to_owned(),
        proxy_protocol: None,
    };
    let [mut first, mut steady] = [Vec::new(), Vec::new()];
    for round in 0..ROTATIONS {
        let other = if round % 2 == 0 { newest - 1 } else { newest };
        stage.switch_by_hand(target, other);
        let began = Instant::now();
        tell();
        let (mut first_new, mut since) = (None, None);
        while first_new.is_none_or(|new: Duration| began.elapsed() < new + Duration::from_millis(500)) {
            let listed = wire::shake_hands(address.parse().unwrap(), &by, Duration::from_secs(5)).await;
            let is_new = listed.is_ok_and(|listed| {
                let names = listed.names.unwrap_or_default();
                marker::find_in(&names).iter().any(|marker| marker.generation == other)
                    || names.is_empty() && listed.generation_header == Some(format!("{other:06}"))
            });
            if is_new {
                first_new.get_or_insert(began.elapsed());
                since.get_or_insert(began.elapsed());
            } else {
                since = None;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "it never shows generation {other}");
        }
        first.extend(first_new);
        steady.extend(since);
    }
    [first, steady]
}

fn print(what: &str, rotations: Vec<Duration>, own: Option<[Vec<Duration>; 2]>) {
    print!("{what:<34}");
    for mut took in [rotations].into_iter().chain(own.into_iter().flatten()) {
        took.sort();
        let ms = |took: &Duration| took.as_secs_f64() * 1e3;
        print!("{:>12.0} {:>6.0}", ms(&took[took.len() / 2]), ms(&took[took.len() - 1]));
    }
    println!();
}

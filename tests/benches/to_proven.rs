//! How long it takes from the vendor's answer until a server is proven to serve it: fifty rotations of each server, by the
//! whole cycle. Beside it, what the server alone needs: from its being told to its first new answer.
//!
//!     cargo bench --bench to_proven [-- SERVER]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/cast.rs"]
mod cast;
#[path = "../common/nginx.rs"]
mod nginx;
#[path = "../common/nginx_stage.rs"]
mod nginx_stage;
#[path = "../common/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use nginx_stage::PLAIN;
use stage::Stage;
use trustsync::settings::resolved::{GenerationEvidence, WireProof};
use trustsync::target::proof::{marker, wire};
use trustsync::trust::turn::Evidence;

const ROTATIONS: u32 = 50;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| argument != "--bench");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{ROTATIONS} rotations each, in ms           median    max   the server's own share: median    max");
    for name in ["nginx"] {
        if wanted.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        match name {
            "nginx" => runtime.block_on(nginx()),
            _ => unreachable!(),
        }
    }
}

async fn nginx() {
    let mut stage = Stage::begin().await;
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    stage.cycle().await;
    nginx.rewrite(&stage.wired("nginx"));
    nginx.reload();
    let rotations = rotate(&mut stage).await;
    let signal = || {
        let pid = std::fs::read_to_string(nginx.pidfile()).unwrap();
        let sent = std::process::Command::new("kill").args(["-HUP", pid.trim()]).status().unwrap();
        assert!(sent.success());
    };
    let own = tell_by_hand(&stage, "nginx", &nginx.address(), signal).await;
    print("nginx, SIGHUP", rotations, own);
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
    assert_eq!(report.targets[0].settled, Some(Evidence::Proven), "{report:?}");
}

/// The time from the server's being told to its first answer with the other generation, without trustsync.
async fn tell_by_hand(stage: &Stage, target: &str, address: &str, tell: impl Fn()) -> Vec<Duration> {
    let newest = stage.linked(target);
    let by = WireProof {
        connect: vec![address.to_owned()],
        server_name: Some("api.example.com".to_owned()),
        generation: GenerationEvidence::None,
        marker: true,
        path: "/".to_owned(),
        proxy_protocol: None,
    };
    let mut took = Vec::new();
    for round in 0..ROTATIONS {
        let other = if round % 2 == 0 { newest - 1 } else { newest };
        stage.switch_by_hand(target, other);
        let began = Instant::now();
        tell();
        loop {
            let sighting = wire::look(address.parse().unwrap(), &by, Duration::from_secs(5)).await;
            let names = sighting.ok().and_then(|sighting| sighting.names).unwrap_or_default();
            if marker::find_in(&names).iter().any(|marker| marker.generation == other) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "it never shows generation {other}");
        }
        took.push(began.elapsed());
        // Until its old workers have ended.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    took
}

fn print(what: &str, mut rotations: Vec<Duration>, mut own: Vec<Duration>) {
    rotations.sort();
    own.sort();
    let ms = |took: &Duration| took.as_secs_f64() * 1e3;
    let figures = |took: &[Duration]| (ms(&took[took.len() / 2]), ms(&took[took.len() - 1]));
    let ((median, longest), (own_median, own_longest)) = (figures(&rotations), figures(&own));
    println!("{what:<36}{median:>10.0}{longest:>7.0}{own_median:>33.0}{own_longest:>7.0}");
}

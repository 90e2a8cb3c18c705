//! A listing that costs much to judge, from an endpoint that lists what somebody else likes: the daemon answers its
//! probes, lets the vendor's own certificates in, keeps nobody from the lock, and ends when it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::daemon::Daemon;
use support::ladder::ladders;
use support::sandbox::Sandbox;

/// As much as took the daemon two minutes, and four times that.
const SIZES: [usize; 2] = [645_000, 2_600_000];

fn healthz(address: SocketAddr) -> Option<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    Some(begun.elapsed())
}

#[test]
fn a_forged_listing_delays_neither_probes_nor_the_end() {
    let strings = ladders(SIZES[1]);
    for size in SIZES {
        let sandbox = Sandbox::new();
        let mut left = size;
        let fits = |text: &&String| {
            left = left.saturating_sub(text.len());
            left > 0
        };
        let besides: Vec<_> = strings.iter().take_while(fits).map(|text| ("Upcoming", text.clone())).collect();
        sandbox.world().list_besides(besides);
        let address = SocketAddr::from(([127, 0, 0, 1], support::port::free_port()));
        sandbox.append(&format!("\n[listen]\naddress = \"{address}\"\n"));

        let daemon = Daemon::start(&mut sandbox.command(&["run"]), sandbox.path("log"));
        let (mut slowest, begun, ended) = (Duration::ZERO, Instant::now(), Arc::new(AtomicBool::new(false)));
        let asking = std::thread::spawn({
            let ended = ended.clone();
            move || {
                while !ended.load(Ordering::Relaxed) {
                    if let Some(took) = healthz(address) {
                        slowest = slowest.max(took);
                    }
                    sleep(Duration::from_millis(20));
                }
                slowest
            }
        });
        daemon.wait_for("published", 1);
        let published = begun.elapsed();
        ended.store(true, Ordering::Relaxed);
        let slowest = asking.join().unwrap();
        println!("{size} bytes: published after {published:?}, /healthz took {slowest:?} at most");
        assert_eq!(daemon.count("too_many_entities"), 1);
        assert!(slowest < Duration::from_secs(2), "/healthz took {slowest:?}");
        let stopped = daemon.stop();
        println!("SIGTERM took {stopped:?}");
        assert!(stopped < Duration::from_secs(2), "SIGTERM took {stopped:?}");

        // At once: the poll is under way.
        let daemon = Daemon::start(&mut sandbox.command(&["run"]), sandbox.path("log"));
        daemon.wait_for("started", 1);
        sleep(Duration::from_millis(300));
        let stopped = daemon.stop();
        assert!(stopped < Duration::from_secs(2), "SIGTERM in the poll took {stopped:?}");

        let ran = sandbox.run(&["sync", "--deadline", "20s"]).exits(5);
        println!("sync took {:?}", ran.took);
        assert!(ran.took < Duration::from_secs(10), "sync took {:?}", ran.took);
    }
}

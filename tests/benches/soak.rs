//! A soak of the daemon: as many polls as it would make in two years, one after the other, with a rotation every thousand.
//! Prints memory, file descriptors, threads and the time of a poll as they go, and what it costs to do nothing.
//!
//!     cargo run --release -p trustsync-benches --example soak [POLLS]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use trustsync::clock::SystemClock;
use trustsync::daemon::{self, Origin};
use trustsync::simulator::vendor::Vendor;
use trustsync::simulator::world::VendorOptions;
use trustsync::trust::formats::pem;

/// How long doing nothing is watched.
const IDLE: Duration = Duration::from_secs(180);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // As `trustsync run` has it.
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(2).thread_keep_alive(Duration::from_secs(1));
    let runtime = builder.build().unwrap();
    match &arguments[..] {
        [daemon, config] if daemon == "--daemon" => {
            let origin = Origin { path: config.into(), environment: BTreeMap::new() };
            // No pause between two polls: the only difference from `trustsync run`.
            let pace = Duration::ZERO;
            runtime.block_on(daemon::run(origin, Arc::new(SystemClock), pace)).unwrap();
        }
        [] => runtime.block_on(soak(20_000)),
        [polls] => runtime.block_on(soak(polls.parse().expect("soak [POLLS]"))),
        _ => panic!("soak [POLLS]"),
    }
}

async fn soak(polls: u64) {
    let mut options = VendorOptions::new(Arc::new(SystemClock));
    options.rate_limit = u32::MAX;
    options.rotate_at_days_left = None;
    options.days_left = Some(80);
    let vendor = Vendor::start(options).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = write_configuration(&vendor, folder.path());
    let daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--daemon", config.to_str().unwrap()])
        .stdin(Stdio::null())
        .stderr(fs::File::create(folder.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let daemon = Running(daemon);
    println!("polls      RSS KiB   fds   threads   ms a poll");
    let (mut done, mut said, mut rotated) = (0, 0, 0);
    let mut since = Instant::now();
    while done < polls {
        daemon.poll_now();
        tokio::time::sleep(Duration::from_millis(2)).await;
        done = vendor.world().request_counts().listing / 2;
        if done / 1_000 > rotated {
            rotated = done / 1_000;
            vendor.world().rotate().unwrap();
        }
        let step = (polls / 20).max(1);
        if done / step > said {
            let each = since.elapsed().as_secs_f64() * 1_000.0 / (step * (done / step - said)) as f64;
            println!("{done:<8} {}   {each:.1}", daemon.figures());
            (said, since) = (done / step, Instant::now());
        }
    }
    tokio::time::sleep(Duration::from_secs(12)).await;
    let before = daemon.switches();
    tokio::time::sleep(IDLE).await;
    let wakeups = (daemon.switches() - before) as f64 / IDLE.as_secs_f64() * 60.0;
    println!("idle     {}   {wakeups:.1} wake-ups a minute", daemon.figures());
}

fn write_configuration(vendor: &Vendor, folder: &Path) -> std::path::PathBuf {
    let write = |name: &str, mode: u32, text: &str| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(folder.join(name)).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    write("api-ca.pem", 0o644, vendor.ca_pem());
    write("root.pem", 0o644, &pem::encode("CERTIFICATE", vendor.world().pki().digicert_root.der()));
    write("secret", 0o600, vendor.client_secret());
    let text = format!(
        "[source.us]\nregion = \"us-east-1\"\nclient_id = \"{}\"\nclient_secret_file = \"secret\"\napi = \
         \"{api}\"\nlogin = \"{api}\"\nca_file = \"api-ca.pem\"\ndigicert_anchors = \
         [\"root.pem\"]\nbuiltin_anchors = false\n[store.main]\npath = \"store\"\ngrace = \"0s\"\n[crl]\nallow_private = \
         true\n[target.web]\nkind = \"nginx\"\ncheck = []\nreload = {{ command = [\"true\"] }}\n",
        vendor.client_id(),
        api = vendor.api_url(),
    );
    write("config.toml", 0o644, &text);
    folder.join("config.toml")
}

/// Killed when dropped.
struct Running(Child);

impl Running {
    fn poll_now(&self) {
        // Before it listens, the signal would end it.
        let status = self.status();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim();
        if u64::from_str_radix(caught, 16).unwrap_or(0) & (1 << (Signal::USR1.as_raw() - 1)) != 0 {
            kill_process(Pid::from_child(&self.0), Signal::USR1).unwrap();
        }
    }

    fn status(&self) -> String {
        fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("the daemon lives")
    }

    fn figures(&self) -> String {
        let status = self.status();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").to_owned()
        };
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap().count();
        format!("{:>9} {descriptors:>5} {:>9}", field("VmRSS:"), field("Threads:"))
    }

    /// How often any of its threads was woken.
    fn switches(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
            .filter_map(|status| {
                status
                    .lines()
                    .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
            })
            .sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! What the tests share, compiled once for all test binaries.
//!
//! - The program and the world around it: [`sandbox`] (a folder, a vendor, the real binary), [`daemon`], [`rotation`],
//!   [`host`] (root and the daemon's user), [`privilege`], [`strace`].
//! - Cycles without the binary: [`leaves`] (no disk), [`rendering`] (their files), [`stage`] (a store, a story in simulated
//!   time), [`report`].
//! - Servers: [`nginx`], [`haproxy`], [`apache`], [`envoy`], [`jvm`], [`service`], each alone and each in the [`foreground`];
//!   the `_stage` of each puts it on a [`stage`] and says what the stories of all kinds ask of a [`server`]. [`raw_server`]
//!   answers as a test says.
//! - Clients: [`cast`], [`doors`], [`java`], [`load`], [`names`].
//! - Ports for servers: [`port`].
//! - Every parser that is fuzzed: [`parsers`].

pub mod apache;
pub mod apache_stage;
pub mod cast;
pub mod daemon;
pub mod doors;
pub mod envoy;
pub mod envoy_stage;
pub mod foreground;
pub mod haproxy;
pub mod haproxy_stage;
pub mod host;
pub mod java;
pub mod jvm;
pub mod jvm_stage;
pub mod ladder;
pub mod leaves;
pub mod load;
pub mod names;
pub mod nginx;
pub mod nginx_stage;
pub mod parsers;
pub mod port;
pub mod privilege;
pub mod raw_server;
pub mod rendering;
pub mod report;
pub mod rotation;
pub mod sandbox;
pub mod server;
pub mod service;
pub mod stage;
pub mod strace;
pub mod terminal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The real binary. nextest names it in the environment; else it stands where cargo puts it, one folder above the test
/// binary.
pub fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("NEXTEST_BIN_EXE_trustsync") {
        return named.into();
    }
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("trustsync");
    assert!(program.exists(), "{} is missing: `cargo build` makes it", program.display());
    program
}

/// What the calling thread has computed so far: unlike the time of day, it does not depend on who else is at work.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// The top folder of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

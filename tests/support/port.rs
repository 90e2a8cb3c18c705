//! Ports for servers that cannot be handed a socket. A port that was bound once and let go may be somebody else's a moment
//! later: another test's, or one that the kernel draws for an outgoing connection.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Mutex;

/// Below those that the kernel draws from by itself (`ip_local_port_range`), above those of known services.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// The locks by which other tests know what is ours, until this process ends.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port of this machine that no other test is given while this process lives, however often its server is restarted.
pub fn free_port() -> u16 {
    let user = rustix::process::geteuid().as_raw();
    let folder: PathBuf = std::env::temp_dir().join(format!("trustsync-test-ports-{user}"));
    fs::create_dir_all(&folder).unwrap();
    // Where to begin differs from process to process, so that tests seldom meet.
    let width = RANGE.end - RANGE.start;
    let begin = u16::try_from(std::process::id().wrapping_mul(7_919) % u32::from(width)).unwrap();
    let mut held = HELD.lock().unwrap();
    for step in 0..width {
        let port = RANGE.start + (begin + step) % width;
        let lock =
            File::options().create(true).truncate(false).write(true).open(folder.join(port.to_string())).unwrap();
        if lock.try_lock().is_ok() && TcpListener::bind(("0.0.0.0", port)).is_ok() {
            held.push(lock);
            return port;
        }
    }
    panic!("no port of {RANGE:?} is free");
}

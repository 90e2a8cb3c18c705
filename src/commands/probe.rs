//! `trustsync status --probe`: whether the daemon lives and a generation is in place, in a line; for health checks of
//! containers, which have no curl. Exits 0 or 1.
//!
//! With `[listen]` the daemon is asked. Without, the probe goes by what it leaves behind: its sign of life, and a store
//! whose sources' next polls lie long in the past has no daemon.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::status::judge;
use super::{Failure, load, print, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::report::health::Readiness;
use crate::settings::resolved::{Settings, Store};
use crate::targets::process::printable;
use crate::trust::event::Event;
use crate::trust::records::health::{DAEMON_SILENT, POLL_LATE};
use crate::trust::values::timestamp::{Timestamp, span};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// No answer is longer.
const LARGEST_ANSWER: u64 = 64 * 1024;

/// What cannot be found out counts as "no".
pub async fn run(global: &Global) -> Exit {
    let (ok, said) = match check(global).await {
        Ok(said) => (true, said),
        Err(said) => (false, said),
    };
    // A caller that reads no answer still has the code.
    let _ = print(global.output, &json!({"ok": ok, "said": said}), || format!("{said}\n"));
    if ok { Exit::Done } else { Exit::Unexpected }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Why the answer is yes, or why it is no.
async fn check(global: &Global) -> Result<String, String> {
    let failed = |failure: Failure| one_line(&failure.to_string());
    let loaded = load(global).map_err(|error| failed(error.into()))?;
    if let Some(address) = loaded.settings.listen {
        return ask(reachable(address)).await;
    }
    let now = SystemClock.now();
    let stores = the_stores(global, &loaded).map_err(failed)?;
    let said: Vec<String> =
        stores.into_iter().map(|store| by_state(&loaded.settings, store, now)).collect::<Result<_, _>>()?;
    Ok(said.join("; "))
}

async fn ask(address: SocketAddr) -> Result<String, String> {
    let mut said = Vec::new();
    for (path, what) in [("/healthz", "healthy"), ("/readyz", "ready")] {
        let answer = timeout(PATIENCE, get(address, path)).await;
        let no_answer = |why: String| format!("the daemon does not answer http://{address}{path}: {why}");
        let (status, body) = answer
            .map_err(|_| no_answer(format!("not within {}", span(PATIENCE))))?
            .map_err(|error| no_answer(error.to_string()))?;
        match status {
            200 if is_stale(&body) => said.push(format!("{what}: {body}")),
            200 => said.push(what.to_owned()),
            _ => return Err(format!("not {what}: {status} {body}")),
        }
    }
    Ok(said.join(", "))
}

/// Whether it is a readiness whose sources were silent for long.
fn is_stale(body: &str) -> bool {
    serde_json::from_str::<Readiness>(body).is_ok_and(|readiness| !readiness.stale.is_empty())
}

/// Where a listener of all addresses is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Status and body, of a server that closes after its answer.
async fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LARGEST_ANSWER).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let parsed = text.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some((status, printable(body.trim().as_bytes())))
    });
    parsed.ok_or_else(|| io::Error::other("what answers there is no HTTP server; is it another program's port?"))
}

/// By what is in place, and by what a daemon leaves behind.
fn by_state(settings: &Settings, store: &Store, now: Timestamp) -> Result<String, String> {
    let name = &store.name;
    let (summary, health) =
        judge(settings, store, now).map_err(|failure| format!("store {name}: {}", one_line(&failure.to_string())))?;
    let Some(published) = &summary.published else {
        let what = if store.path.exists() { "nothing published yet" } else { "nothing there yet" };
        return Err(format!("store {name}: {what} in {}", store.path.display()));
    };
    if let Some(silent) = health.alarms.iter().find(|alarm| alarm.finding.event == Event::DaemonSilent) {
        return Err(format!("store {name}: {}", silent.finding.text));
    }
    let generation = published.generation;
    // Where nothing can be saved, a daemon that lives leaves no due times.
    if let Some(seen) = summary.daemon.filter(|seen| now.since(seen.at) <= DAEMON_SILENT) {
        return Ok(format!("store {name}: generation {generation:06}, the daemon was seen {}", seen.at));
    }
    for source in &store.sources {
        let due = summary.state.sources.get(source).and_then(|known| known.next_due);
        if let Some(due) = due.filter(|due| now.since(*due) > POLL_LATE) {
            return Err(format!(
                "store {name}: source {source} was due on {due} and was not asked; is the daemon alive?"
            ));
        }
    }
    Ok(format!("store {name}: generation {generation:06}, no poll overdue"))
}

//! How people drive the simulator: plain HTTP on a loopback address. `GET /` shows the state and the commands.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::clock::{Clock, SystemClock};
use crate::listener::Listener;
use crate::simulator::crls::{CrlMode, Revoke, RevokeError};
use crate::simulator::error::SimulatorError;
use crate::simulator::failure::{Endpoint, Failure, Mode};
use crate::simulator::folder::Folder;
use crate::simulator::http::{TEXT, Whole, parameter, serve_loopback, whole};
use crate::simulator::pem_form::PemForm;
use crate::simulator::pki::{ClientCertificate, PkiError};
use crate::simulator::vendor::Vendor;
use crate::simulator::world::{ActiveFailure, World};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;

/// The machine's clock, moved by an offset that can be set; clones share it.
#[derive(Debug, Clone, Default)]
pub struct OffsetClock(Arc<AtomicI64>);

impl OffsetClock {
    /// Makes it show `now`; it runs on from there.
    pub fn set(&self, now: Timestamp) {
        let offset = now.unix().saturating_sub(SystemClock.now().unix());
        self.0.store(offset, Ordering::SeqCst);
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> Timestamp {
        let real = SystemClock.now().unix();
        Timestamp::from_unix(real.saturating_add(self.0.load(Ordering::SeqCst)))
    }

    /// A story may be set in any time.
    fn earliest(&self) -> Timestamp {
        Timestamp::from_unix(i64::MIN)
    }
}

/// The running control endpoint; it ends when dropped.
#[derive(Debug)]
pub struct Control {
    listener: Listener,
}

struct Controlled {
    world: World,
    clock: OffsetClock,
    folder: Folder,
    api_url: String,
}

impl Control {
    /// Listens on `address`, which must be a loopback one. It sets the `clock`, and the files of the `folder` follow
    /// each change.
    pub async fn start(
        address: SocketAddr,
        vendor: &Vendor,
        clock: OffsetClock,
        folder: Folder,
    ) -> Result<Self, SimulatorError> {
        let controlled = Controlled { world: vendor.world().clone(), clock, folder, api_url: vendor.api_url() };
        let listener = serve_loopback(address, move |request| controlled.answer(request)).await;
        let service = "the simulator's control endpoint";
        let listener = listener.map_err(|source| SimulatorError::Listen { service, address, source })?;
        Ok(Self { listener })
    }

    /// Its base without a slash, such as `http://127.0.0.1:4711`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// Ends it, and waits for that.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

/// The status and the reason of a command that was not carried out.
type Refusal = (StatusCode, String);

fn wrong(why: impl ToString) -> Refusal {
    (StatusCode::BAD_REQUEST, why.to_string())
}

fn failed(why: impl ToString) -> Refusal {
    (StatusCode::INTERNAL_SERVER_ERROR, why.to_string())
}

impl Controlled {
    fn answer(&self, request: &Request<Incoming>) -> Whole {
        let path = request.uri().path();
        let text = match (request.method(), path) {
            (&Method::GET, "/state") => match self.state() {
                Ok(state) => return whole(StatusCode::OK, "application/json", format!("{state:#}\n")),
                Err(why) => Err(failed(why)),
            },
            (&Method::GET, "/") => self.overview().map_err(failed),
            (&Method::POST, _) => self.command(request),
            _ => Err(unknown(request)),
        };
        let (status, mut text) = text.map_or_else(|refusal| refusal, |text| (StatusCode::OK, text));
        if !text.ends_with('\n') {
            text.push('\n');
        }
        whole(status, TEXT, text)
    }

    /// Carries out a command, brings the files in line with the world, and says what was done.
    // Long because each command is one arm.
    fn command(&self, request: &Request<Incoming>) -> Result<String, Refusal> {
        let world = &self.world;
        let path = request.uri().path().trim_start_matches('/');
        let (command, argument) = path.split_once('/').unwrap_or((path, ""));
        let done = match (command, argument) {
            ("rotate", "") => {
                world.rotate().map_err(failed)?;
                "rotated: the vendor presents another certificate now".into()
            }
            ("renew-genesys", "") => {
                world.renew_genesys().map_err(failed)?;
                "renewed the Genesys leaf under the same root and name".into()
            }
            ("days-left" | "upcoming-days-left", days) => {
                let days: u32 = days
                    .parse()
                    .ok()
                    .filter(|days| *days <= 36_500)
                    .ok_or_else(|| wrong(format!("{command} takes a number of days, 0 to 36500")))?;
                let (issued, which) = match command {
                    "days-left" => (world.set_days_left(days), "Current"),
                    _ => (world.set_upcoming_days_left(days), "Upcoming"),
                };
                issued.map_err(failed)?;
                format!("issued anew: {which} has {days} days left")
            }
            ("clock", moment) => {
                let now: Timestamp = moment.replace("%3A", ":").parse().map_err(wrong)?;
                self.clock.set(now);
                format!("the simulated clock shows {now} and runs on")
            }
            ("fail", name) => {
                let failure: Failure = name.parse().map_err(wrong)?;
                let endpoint = parameter(request.uri(), "endpoint")
                    .map_or(Ok(Endpoint::Listing), |text| text.parse())
                    .map_err(wrong)?;
                let count = parameter(request.uri(), "count").map(|text| text.parse::<u64>());
                let count = count.transpose().map_err(|_| wrong("count takes a number"))?;
                world.fail(failure, endpoint, count);
                let until = count.map_or("until cleared".into(), |count| format!("{count} times"));
                format!("{failure} on {endpoint}, {until}: {}", failure.meaning())
            }
            ("clear", "") => {
                world.clear();
                "no failure is in force".into()
            }
            ("mode", name) => {
                let mode: Mode = name.parse().map_err(wrong)?;
                world.set_mode(mode);
                format!("mode {mode}")
            }
            ("pem", name) => {
                let form: PemForm = name.parse().map_err(wrong)?;
                world.set_pem(form);
                format!("certificates are written in the form {form}")
            }
            ("revoke", "none") => {
                world.unrevoke_all();
                "no certificate is revoked any more".into()
            }
            ("revoke", name) => {
                let which: Revoke = name.parse().map_err(wrong)?;
                let fingerprint = world.revoke(which).map_err(|why| match why {
                    RevokeError::Absent(_) | RevokeError::NoList(_) => wrong(why),
                    RevokeError::Pki(_) => failed(why),
                })?;
                format!(
                    "revoked by its CA: {which}, {fingerprint}; trustsync asks for a list again after a minute here"
                )
            }
            ("crl", name) => {
                let mode: CrlMode = name.parse().map_err(wrong)?;
                world.set_crl_mode(mode);
                format!("the CRLs are {mode}")
            }
            ("tokens", "revoke") => {
                world.revoke_tokens();
                "every token is revoked".into()
            }
            _ => return Err(unknown(request)),
        };
        self.folder.write().map_err(|why| failed(format!("done, but the files were not written: {why}")))?;
        Ok(done)
    }

    fn state(&self) -> Result<Value, PkiError> {
        let world = &self.world;
        let now = world.now();
        let counts = world.request_counts();
        let failing = |active: &ActiveFailure| {
            json!({
                "failure": active.failure.name(),
                "endpoint": active.endpoint.name(),
                "remaining": active.remaining,
            })
        };
        Ok(json!({
            "now": now,
            "api": self.api_url,
            "folder": self.folder.path().display().to_string(),
            "region": world.options().region,
            "certificateName": world.options().certificate_name,
            "crls": world.options().crl_base(),
            "crlMode": world.crl_mode().name(),
            "revoked": world.revoked(),
            "mode": world.mode().name(),
            "pem": world.pem().name(),
            "current": described(&world.current()?, now),
            "upcoming": world.upcoming()?.map(|leaf| described(&leaf, now)),
            "genesys": described(&world.genesys()?, now),
            "failures": world.failures().iter().map(failing).collect::<Vec<_>>(),
            "requests": { "token": counts.token, "listing": counts.listing, "crl": counts.crl, "other": counts.other },
        }))
    }

    /// The state and the commands, for people.
    fn overview(&self) -> Result<String, PkiError> {
        let mut text = String::from("The simulated vendor\n\n");
        for (name, value) in self.state()?.as_object().into_iter().flatten() {
            let _ = writeln!(text, "  {name:<16}{}", plain(value));
        }
        Ok(format!("{text}\n{}", commands()))
    }
}

/// JSON without its punctuation, on one line.
fn plain(value: &Value) -> String {
    let joined = |parts: Vec<String>| if parts.is_empty() { "none".into() } else { parts.join(", ") };
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => joined(items.iter().map(plain).collect()),
        Value::Object(fields) => {
            joined(fields.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect())
        }
        other => other.to_string(),
    }
}

fn described(leaf: &ClientCertificate, now: Timestamp) -> Value {
    json!({
        "sha256": Fingerprint::of(leaf.der()),
        "notBefore": leaf.validity().not_before,
        "notAfter": leaf.validity().not_after,
        "daysLeft": now.days_until(leaf.validity().not_after),
    })
}

fn unknown(request: &Request<Incoming>) -> Refusal {
    let (method, path) = (request.method(), request.uri().path());
    (StatusCode::NOT_FOUND, format!("there is no command {method} {path}\n\n{}", commands()))
}

fn commands() -> String {
    let mut text = String::from(
        "Commands (curl -X POST URL):\n  \
         GET  /state                 this as JSON\n  \
         POST /rotate                Upcoming becomes Current now\n  \
         POST /renew-genesys         a new Genesys leaf, unannounced\n  \
         POST /days-left/N           Current is issued anew with N days left\n  \
         POST /upcoming-days-left/N  Upcoming is issued anew with N days left, also fewer than Current's\n  \
         POST /clock/RFC3339         the simulated clock shows this and runs on\n  \
         POST /mode/NAME             lists-all, current-only-unless-asked\n  \
         POST /pem/NAME              vendor, canonical, crlf, long-lines, root-first\n  \
         POST /revoke/NAME           its CA revokes current, upcoming, previous, genesys, intermediate or a SHA-256\n  \
         POST /revoke/none           the CRLs name no certificate any more\n  \
         POST /crl/NAME              the CRLs are served, blocked (503), expired\n  \
         POST /tokens/revoke         every token is refused from now on\n  \
         POST /fail/NAME             ?endpoint=listing|token|both (listing), &count=N (until cleared)\n  \
         POST /clear                 no more failures\n\n\
         Failures:\n",
    );
    for failure in Failure::ALL {
        let _ = writeln!(text, "  {:<24}{}", failure.name(), failure.meaning());
    }
    text
}

//! How people drive the simulator: plain HTTP on a loopback address. `GET /` says what there is.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::clock::{Clock, SystemClock};
use crate::listener::Listener;
use crate::simulator::crls::{CrlMode, CrlPlace, Revoke, RevokeError};
use crate::simulator::failure::{Endpoint, Failure, Mode};
use crate::simulator::folder::Folder;
use crate::simulator::listener::{PlainAnswer, PlainRequest, loopback_http};
use crate::simulator::pem_form::PemForm;
use crate::simulator::pki::ClientCertificate;
use crate::simulator::vendor::Vendor;
use crate::simulator::world::World;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::timestamp::Timestamp;

/// The machine's clock, moved by an offset that can be set; clones share it.
#[derive(Debug, Clone, Default)]
pub struct OffsetClock(Arc<AtomicI64>);

impl OffsetClock {
    /// Shows `now` from here on, and runs on.
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

/// The control endpoint could not start.
#[derive(Debug, thiserror::Error)]
#[error("the simulator's control endpoint cannot listen on {address}: {source}; choose another loopback address")]
pub struct ControlError {
    address: SocketAddr,
    source: io::Error,
}

/// The running control endpoint; it ends when dropped.
#[derive(Debug)]
pub struct Control {
    listener: Listener,
}

#[derive(Clone)]
struct Controlled {
    world: World,
    clock: Option<OffsetClock>,
    folder: Option<Folder>,
    api_url: String,
}

impl Control {
    /// Listens on `address`, which must be a loopback one. Without a `clock`, it cannot be set here; with a `folder`, its files follow
    /// each change.
    pub async fn start(
        address: SocketAddr,
        vendor: &Vendor,
        clock: Option<OffsetClock>,
        folder: Option<Folder>,
    ) -> Result<Self, ControlError> {
        let controlled = Controlled { world: vendor.world().clone(), clock, folder, api_url: vendor.api_url() };
        let listener = loopback_http(address, move |request| {
            let controlled = controlled.clone();
            async move { controlled.answer(&request) }
        })
        .await
        .map_err(|source| ControlError { address, source })?;
        Ok(Self { listener })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Ends it, and waits for that.
    pub async fn stop(self) {
        self.listener.stop().await;
    }
}

/// A command that could not be done.
enum Refused {
    /// It is not one of ours.
    Unknown,
    /// It was wrong.
    Wrong(String),
    /// It was right, and failed.
    Failed(String),
}

impl Controlled {
    fn answer(&self, request: &PlainRequest) -> PlainAnswer {
        let answer = match request.method {
            Method::GET => self.read(&request.path),
            Method::POST => self.command(request).and_then(|said| {
                self.settle()?;
                Ok(PlainAnswer::text(StatusCode::OK, said))
            }),
            _ => Err(Refused::Unknown),
        };
        answer.unwrap_or_else(|refused| match refused {
            Refused::Unknown => PlainAnswer::text(
                StatusCode::NOT_FOUND,
                format!("no such command: {} {}\n\n{}", request.method, request.path, commands()),
            ),
            Refused::Wrong(why) => PlainAnswer::text(StatusCode::BAD_REQUEST, why),
            Refused::Failed(why) => PlainAnswer::text(StatusCode::INTERNAL_SERVER_ERROR, why),
        })
    }

    fn read(&self, path: &str) -> Result<PlainAnswer, Refused> {
        match path {
            "/" => Ok(PlainAnswer::text(StatusCode::OK, format!("{}\n{}", self.text()?, commands()))),
            "/state" => Ok(PlainAnswer {
                status: StatusCode::OK,
                content_type: "application/json",
                text: format!("{:#}\n", self.state()?),
            }),
            _ => Err(Refused::Unknown),
        }
    }

    fn command(&self, request: &PlainRequest) -> Result<String, Refused> {
        fn wrong(why: impl ToString) -> Refused {
            Refused::Wrong(why.to_string())
        }
        fn failed(why: impl ToString) -> Refused {
            Refused::Failed(why.to_string())
        }
        let path = request.path.trim_start_matches('/');
        let (command, argument) = path.split_once('/').unwrap_or((path, ""));
        let parameter = |name: &str| {
            let found = request.query.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str())
        };
        match (command, argument) {
            ("rotate", "") => {
                self.world.rotate().map_err(failed)?;
                Ok("rotated: the vendor presents another certificate now".into())
            }
            ("renew-genesys", "") => {
                self.world.renew_genesys().map_err(failed)?;
                Ok("renewed the Genesys leaf under the same root and name".into())
            }
            ("days-left" | "upcoming-days-left", days) => {
                let days: u32 = days
                    .parse()
                    .ok()
                    .filter(|days| *days <= 36_500)
                    .ok_or_else(|| wrong(format!("{command} takes a number of days, 0 to 36500")))?;
                let (set, which): (fn(&World, u32) -> _, _) = match command {
                    "days-left" => (World::set_days_left, "Current"),
                    _ => (World::set_upcoming_days_left, "Upcoming"),
                };
                set(&self.world, days).map_err(failed)?;
                Ok(format!("issued anew: {which} has {days} days left"))
            }
            ("clock", moment) => {
                let clock = self
                    .clock
                    .as_ref()
                    .ok_or_else(|| wrong("this simulator's clock is not set here but by whoever started it"))?;
                let now: Timestamp = moment.replace("%3A", ":").parse().map_err(wrong)?;
                clock.set(now);
                Ok(format!("the simulated clock shows {now} and runs on"))
            }
            ("fail", name) => {
                let failure: Failure = name.parse().map_err(wrong)?;
                let endpoint = match parameter("endpoint") {
                    None => Endpoint::Listing,
                    Some(text) => text.parse().map_err(wrong)?,
                };
                let count = match parameter("count") {
                    None => None,
                    Some(text) => Some(text.parse::<u64>().map_err(|_| wrong("count takes a number"))?),
                };
                self.world.fail(failure, endpoint, count);
                let until = count.map_or("until cleared".into(), |count| format!("{count} times"));
                Ok(format!("{failure} on {endpoint}, {until}: {}", failure.meaning().trim()))
            }
            ("clear", "") => {
                self.world.clear();
                Ok("no failure is in force".into())
            }
            ("mode", name) => {
                let mode: Mode = name.parse().map_err(wrong)?;
                self.world.set_mode(mode);
                Ok(format!("mode {mode}"))
            }
            ("pem", name) => {
                let form: PemForm = name.parse().map_err(wrong)?;
                self.world.set_pem(form);
                Ok(format!("certificates are written in the form {form}"))
            }
            ("revoke", "none") => {
                self.world.unrevoke_all();
                Ok("the lists name nobody any more; whoever trustsync found revoked stays out until its expiry".into())
            }
            ("revoke", name) => {
                let which: Revoke = name.parse().map_err(wrong)?;
                let fingerprint = self.world.revoke(which).map_err(|why| match why {
                    RevokeError::Absent(_) | RevokeError::NoList(_) => wrong(why),
                    RevokeError::Pki(_) => failed(why),
                })?;
                Ok(format!(
                    "revoked by its CA: {which}, {fingerprint}; trustsync asks for a list again after a minute here"
                ))
            }
            ("crl", name) => {
                let mode: CrlMode = name.parse().map_err(wrong)?;
                self.world.set_crl_mode(mode);
                Ok(format!("the CRLs are {}", mode.name()))
            }
            ("tokens", "revoke") => {
                self.world.revoke_tokens();
                Ok("every token is revoked".into())
            }
            _ => Err(Refused::Unknown),
        }
    }

    /// Brings the files in line with the world.
    fn settle(&self) -> Result<(), Refused> {
        match self.folder.as_ref().map(Folder::write) {
            Some(Err(why)) => Err(Refused::Failed(format!("done, but the files were not written: {why}"))),
            _ => Ok(()),
        }
    }

    fn state(&self) -> Result<Value, Refused> {
        let world = &self.world;
        let failed = |why: crate::simulator::pki::PkiError| Refused::Failed(why.to_string());
        let now = world.now();
        let counts = world.request_counts();
        let failures: Vec<Value> = world
            .failures()
            .iter()
            .map(|active| {
                json!({
                    "failure": active.failure.name(),
                    "endpoint": active.endpoint.name(),
                    "remaining": active.remaining,
                })
            })
            .collect();
        Ok(json!({
            "now": now,
            "api": self.api_url,
            "folder": self.folder.as_ref().map(|folder| folder.path().display().to_string()),
            "region": world.options().region,
            "certificateName": world.options().certificate_name,
            "crls": self.crls(),
            "crlMode": world.crl_mode().name(),
            "revoked": world.revoked(),
            "mode": world.mode().name(),
            "pem": world.pem().name(),
            "current": described(&world.current().map_err(failed)?, now),
            "upcoming": world.upcoming().map_err(failed)?.map(|leaf| described(&leaf, now)),
            "genesys": described(&world.genesys().map_err(failed)?, now),
            "failures": failures,
            "requests": { "token": counts.token, "listing": counts.listing, "crl": counts.crl, "other": counts.other },
        }))
    }

    fn crls(&self) -> Option<&str> {
        match &self.world.options().crls {
            CrlPlace::At(url) => Some(url),
            CrlPlace::Vendor | CrlPlace::Nowhere => None,
        }
    }

    fn text(&self) -> Result<String, Refused> {
        let world = &self.world;
        let failed = |why: crate::simulator::pki::PkiError| Refused::Failed(why.to_string());
        let now = world.now();
        let mut text = format!(
            "The simulated vendor, {region}, {name}\n\n  clock     {now}\n  api       {api}\n  crls      {crls}, {crl_mode}\n  mode      {mode}\n  pem       {pem}\n",
            region = world.options().region,
            name = world.options().certificate_name,
            api = self.api_url,
            crls = self.crls().unwrap_or("none"),
            crl_mode = world.crl_mode().name(),
            mode = world.mode(),
            pem = world.pem(),
        );
        if let Some(folder) = &self.folder {
            let _ = writeln!(text, "  files     {}", folder.path().display());
        }
        let mut leaf = |label: &str, leaf: Option<ClientCertificate>| {
            let said = leaf.map_or("none".into(), |leaf| {
                let ends = leaf.validity().not_after;
                let print = Fingerprint::of(leaf.der()).short();
                format!("{print}, until {ends} ({} days)", now.days_until(ends))
            });
            let _ = writeln!(text, "  {label:<9} {said}");
        };
        leaf("current", Some(world.current().map_err(failed)?));
        leaf("upcoming", world.upcoming().map_err(failed)?);
        leaf("genesys", Some(world.genesys().map_err(failed)?));
        for revoked in world.revoked() {
            let _ = writeln!(text, "  revoked   {revoked}");
        }
        for active in world.failures() {
            let left = active.remaining.map_or("until cleared".into(), |left| format!("{left} more"));
            let _ = writeln!(text, "  failing   {} on {}, {left}", active.failure, active.endpoint);
        }
        let counts = world.request_counts();
        let _ = writeln!(
            text,
            "  requests  {} token, {} listing, {} CRL, {} other",
            counts.token, counts.listing, counts.crl, counts.other
        );
        Ok(text)
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

fn commands() -> String {
    let mut text = String::from(
        "Commands (curl -X POST URL):\n  \
         GET  /state                 this as JSON\n  \
         POST /rotate                Upcoming becomes Current now\n  \
         POST /renew-genesys         a new Genesys leaf, unannounced\n  \
         POST /days-left/N           Current is issued anew with N days left\n  \
         POST /upcoming-days-left/N  Upcoming is issued anew with N days left, be they fewer than Current's\n  \
         POST /clock/RFC3339         the simulated clock shows this and runs on\n  \
         POST /mode/NAME             lists-all, current-only-unless-asked\n  \
         POST /pem/NAME              vendor, canonical, crlf, long-lines, root-first\n  \
         POST /revoke/NAME           its CA revokes it: current, upcoming, previous, genesys, intermediate, or a SHA-256\n  \
         POST /revoke/none           the CRLs name nobody any more\n  \
         POST /crl/NAME              the CRLs are served, blocked (503), expired\n  \
         POST /tokens/revoke         every token is refused from now on\n  \
         POST /fail/NAME             ?endpoint=listing|token|both (listing), &count=N (until cleared)\n  \
         POST /clear                 no more failures\n\n\
         Failures:\n",
    );
    for failure in Failure::ALL {
        let _ = writeln!(text, "  {:<24}{}", failure.name(), failure.meaning().trim());
    }
    text
}

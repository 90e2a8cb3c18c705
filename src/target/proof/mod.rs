//! Evidence, taken from outside and without the client's key, that a server serves a generation.
//!
//! ```text
//!  look ─▶ judge ─▶ streak of new sightings as long as `settle`? ─▶ proven (or chain only)
//!   ▲                       │ no: an old one begins it anew
//!   └──── 10 to 500 ms ─────┴─▶ the end of `timeout`: what was seen last is the outcome
//! ```
//! nginx answers with the old set up to 300 ms after the first new answer, from workers that are still to end: so one
//! sighting proves nothing, and a streak counts only if it is unbroken and lasts. Two parts are told apart: the *chain*
//! (the generation marker among the names of the CertificateRequest) and the *allowlist* (a header whose value is defined
//! beside it); who is asked which generation it has loaded (`spoken`) answers for both. What one way of looking cannot show
//! another may; where several are configured, all must agree. That the server enforces the allowlist is not claimed: see
//! [`crate::target::nginx`].

mod envoy;
mod haproxy;
pub mod marker;
mod spoken;
pub mod wire;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::settings::resolved::{self, GenerationEvidence, ProxyProtocol, WireProof};
use crate::target::http::Asker;
use crate::target::process::Environment;
use crate::target::proof::envoy::Admin;
use crate::target::proof::wire::{SIGHTING_LIMIT, Sighting, WireError, look};
use crate::trust::marker_name::MarkerName;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(30);

/// Between two looks at a server that never answers with the old generation after the new one.
const SHORT_PAUSE: Duration = Duration::from_millis(10);

/// Between two looks at a server that shows nothing new for long.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Between two runs of a command.
const COMMAND_PAUSE: Duration = Duration::from_millis(100);

/// The fewest sightings that make a streak, however slow they are.
const STREAK: u32 = 3;

/// For how long a server that was told just now must show less than hoped (no header, no marker of this store, no request
/// for a certificate) to be judged by that: a busy one may need most of a second before its first new answer.
const LESS_THAN_HOPED: Duration = Duration::from_millis(1_200);

/// How long a server that nobody told lately is looked at, at most.
const LONG_RUNNING: Duration = Duration::from_secs(3);

/// How long is spent at most to find out why nothing is to be seen.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(1);

/// Why nothing is seen of a server without a CertificateRequest and without our header.
pub const NOT_ASKED: &str =
    "the server does not ask for a client certificate in its handshake, at this address and by this name";

/// Why the chain is not seen of one that shows our header.
const ASKED_LATER: &str = "the server does not ask for a client certificate in its handshake, at this address and by this name; its \
     allowlist is of the wanted generation, but which authorities it accepts cannot be seen: it may ask later, for some locations";

/// Why the chain is not seen of one that asks by other names, and shows our header.
pub const OTHER_NAMES: &str = "its allowlist is of the wanted generation, but the names that it advertises are not those of this store's \
     bundle (another CA file at this address, or a list of names of its own, as Apache's SSLCADNRequestFile), so which authorities \
     it accepts cannot be seen";

/// Why the chain is not seen of one that asks for anybody's certificate.
pub const NO_NAMES: &str = "the server asks for a client certificate and names no authority at all, so which ones it accepts cannot be \
     seen: so do HAProxy with no-ca-names and nginx with ssl_trusted_certificate alone";

/// The most addresses that one proof looks at.
const ADDRESSES: usize = 64;

/// The generation to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of this store.
    pub store_id: String,
    /// This generation.
    pub generation: u64,
    /// Whose trust content has this head of a digest.
    pub digest_head: String,
    /// What a command that is asked is given.
    pub environment: Environment,
    /// The folder that holds its files: the target's link.
    pub directory: PathBuf,
}

/// How long to be patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The server was told just now: `settle` and `timeout` as configured.
    JustTold,
    /// Nobody told it lately: three looks in a row that agree decide, whichever way.
    LongRunning,
}

/// What a server proves. Ranked: the outcome over several addresses is the highest of theirs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Chain and allowlist are of the wanted generation.
    Proven,
    /// The allowlist is; the chain does not show its generation.
    AllowlistOnly {
        /// Why.
        reason: String,
    },
    /// The chain is; the allowlist does not show its generation.
    ChainOnly {
        /// Why.
        reason: String,
    },
    /// The server cannot show what it serves.
    Unverifiable {
        /// Why.
        reason: String,
    },
    /// It asks for client certificates, and shows no marker of this store: its configuration does not name our files.
    NotWired,
    /// It could not be asked.
    Unreachable {
        /// Why.
        reason: String,
    },
    /// It showed the wanted generation, but not for long enough without an older one in between.
    NotYet {
        /// What was seen.
        reason: String,
    },
    /// It serves another generation.
    Refuted {
        /// The one it serves.
        generation: u64,
        /// Which part shows it.
        part: Part,
    },
    /// It serves something else, which names no generation.
    Otherwise {
        /// What.
        reason: String,
    },
    /// It serves another generation, and will not come to this one by itself.
    Kept {
        /// Why.
        reason: String,
    },
    /// It serves the wanted generation, and lets others in beside it.
    NotEnforced {
        /// Where, and why.
        places: String,
    },
}

/// What a generation was seen in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The marker in the CertificateRequest.
    Chain,
    /// The header beside the allowlist.
    Allowlist,
    /// What it says of itself.
    Word,
    /// The secret that an Envoy has taken.
    Secret,
}

/// What one look-out proves: an address, or another way of looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressProof {
    /// As configured.
    pub connect: String,
    /// What that resolved to; none if it did not, or is no address.
    pub address: Option<SocketAddr>,
    /// What it proves.
    pub proof: Proof,
    /// How many times it was looked at.
    pub looks: u32,
}

/// What a target proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofReport {
    /// Over all addresses: they must agree, so the highest of theirs.
    pub proof: Proof,
    /// Each address, in the order configured.
    pub addresses: Vec<AddressProof>,
}

/// Looks in every way that `proof` names (each IP of each name, both families), all at once, until each has shown what the
/// server serves.
pub async fn prove(proof: &resolved::Proof, wanted: &Wanted, patience: Patience) -> ProofReport {
    let mut addresses = Vec::new();
    let mut lookers = Vec::new();
    let unlooked = |connect: &str, address, reason: String| AddressProof {
        connect: connect.to_owned(),
        address,
        proof: Proof::Unreachable { reason },
        looks: 0,
    };
    if let Some(wire) = &proof.wire {
        for connect in &wire.connect {
            match resolve(connect).await {
                Ok(found) => {
                    for address in found.into_iter().take(ADDRESSES.saturating_sub(lookers.len())) {
                        lookers.push((addresses.len(), Looker::Wire { address, settings: wire.clone() }));
                        addresses.push(unlooked(connect, Some(address), "it was not looked at".to_owned()));
                    }
                }
                Err(reason) => addresses.push(unlooked(connect, None, reason)),
            }
        }
    }
    let on_the_wire = addresses.len();
    if let Some(argv) = &proof.command {
        lookers.push((addresses.len(), Looker::Command(argv.clone())));
        addresses.push(unlooked("command", None, "it was not looked at".to_owned()));
    }
    if let Some(settings) = &proof.envoy {
        let reason = match Admin::of(settings) {
            Ok(admin) => {
                lookers.push((addresses.len(), Looker::Envoy(Box::new(admin))));
                "it was not looked at".to_owned()
            }
            Err(error) => error.to_string(),
        };
        addresses.push(unlooked(&settings.admin.to_string(), None, reason));
    }
    if let Some(endpoint) = &proof.http {
        let reason = match Asker::of(endpoint) {
            Ok(asker) => {
                lookers.push((addresses.len(), Looker::Http(asker)));
                "it was not looked at".to_owned()
            }
            Err(error) => error.to_string(),
        };
        addresses.push(unlooked(&endpoint.to_string(), None, reason));
    }
    if let Some(socket) = &proof.haproxy {
        lookers.push((addresses.len(), Looker::Haproxy(socket.clone())));
        addresses.push(unlooked(&socket.to_string_lossy(), None, "it was not looked at".to_owned()));
    }
    let mut looks = JoinSet::new();
    for (place, looker) in lookers {
        let (settle, timeout) = (proof.settle, proof.timeout);
        let mut watch = Watch { looker, settle, timeout, wanted: wanted.clone(), patience, looks: 0 };
        looks.spawn(async move { (place, watch.look_until_settled().await, watch.looks) });
    }
    while let Some(done) = looks.join_next().await {
        if let Ok((place, proof, looks)) = done
            && let Some(slot) = addresses.get_mut(place)
        {
            slot.proof = proof;
            slot.looks = looks;
        }
    }
    let (wire, others) = addresses.split_at(on_the_wire.min(addresses.len()));
    // Of several addresses the worst stands: they are to show the same.
    let wire = wire.iter().map(|address| address.proof.clone()).max();
    let wire = wire.map(|wire| if proof.haproxy.is_some() { unadvertised(wire, others) } else { wire });
    let proof = together(wire.into_iter().chain(others.iter().map(|other| other.proof.clone())));
    ProofReport { proof, addresses }
}

/// What different ways of looking prove together: the worst of them, unless each saw the wanted generation in a part.
fn together(ways: impl Iterator<Item = Proof>) -> Proof {
    let (mut chain, mut allowlist, mut worst) = (false, false, None);
    for proof in ways {
        chain |= matches!(proof, Proof::Proven | Proof::ChainOnly { .. });
        allowlist |= matches!(proof, Proof::Proven | Proof::AllowlistOnly { .. });
        worst = worst.max(Some(proof));
    }
    match worst {
        Some(Proof::ChainOnly { .. } | Proof::AllowlistOnly { .. }) if chain && allowlist => Proof::Proven,
        Some(worst) => worst,
        None => Proof::Unverifiable { reason: "no address to look at is configured".into() },
    }
}

/// A HAProxy that has our chain loaded and shows nothing of it at an address.
fn unadvertised(wire: Proof, others: &[AddressProof]) -> Proof {
    let is_loaded = |other: &AddressProof| matches!(other.proof, Proof::Proven | Proof::ChainOnly { .. });
    if wire == Proof::NotWired && others.iter().any(is_loaded) {
        return Proof::Unverifiable {
            reason: "this target's files are loaded, but at this address and by this name none of their names is advertised: \
                     HAProxy advertises those of ca-file, never of ca-verify-file; or another bind answers there"
                .into(),
        };
    }
    wire
}

async fn resolve(connect: &str) -> Result<BTreeSet<SocketAddr>, String> {
    match timeout(SIGHTING_LIMIT, lookup_host(connect)).await {
        Ok(Ok(found)) => {
            let found: BTreeSet<SocketAddr> = found.collect();
            if found.is_empty() { Err(format!("{connect} resolves to no address")) } else { Ok(found) }
        }
        Ok(Err(error)) => Err(format!("{connect} cannot be resolved: {error}")),
        Err(_) => Err(format!("{connect} could not be resolved in time")),
    }
}

/// A way of looking at a server.
#[derive(Debug, Clone)]
enum Looker {
    /// A handshake and one GET, at this address.
    Wire { address: SocketAddr, settings: WireProof },
    /// What this command says.
    Command(Vec<String>),
    /// What is answered there.
    Http(Asker),
    /// What Envoy's admin endpoint shows.
    Envoy(Box<Admin>),
    /// What HAProxy's runtime socket shows.
    Haproxy(PathBuf),
}

impl Looker {
    async fn look(&self, wanted: &Wanted, limit: Duration) -> Seen {
        match self {
            Self::Wire { address, settings } => match look(*address, settings, limit).await {
                Ok(sighting) => judge(&sighting, wanted, settings),
                Err(error @ WireError::Unanswered) => Seen::Blind(error.to_string()),
                Err(error) => Seen::Nothing(error.to_string()),
            },
            Self::Command(argv) => spoken::by_command(argv, wanted, limit).await,
            Self::Http(asker) => spoken::by_http(asker, wanted, limit).await,
            Self::Envoy(admin) => admin.look(wanted, limit).await,
            Self::Haproxy(socket) => haproxy::look(socket, wanted).await,
        }
    }

    /// How long to wait between two looks.
    fn pause(&self, settle: Duration) -> Duration {
        match self {
            // A process each.
            Self::Command(_) => COMMAND_PAUSE,
            _ if settle.is_zero() => SHORT_PAUSE,
            Self::Wire { .. } | Self::Http(_) | Self::Envoy(_) | Self::Haproxy(_) => PAUSE,
        }
    }

    /// Once nothing was to be seen for long: why that is, if it can be found out.
    async fn explain(&self, reason: String) -> Proof {
        match self {
            Self::Wire { address, settings } if settings.proxy_protocol.is_none() => {
                let with_header = WireProof { proxy_protocol: Some(ProxyProtocol::V1), ..settings.clone() };
                match look(*address, &with_header, EXPLAINED_WITHIN).await {
                    Ok(_) => Proof::Unverifiable {
                        reason: "the server answers only to those who begin with the PROXY protocol: set proof.proxy_protocol to \"v1\" or \"v2\"".into(),
                    },
                    Err(_) => Proof::Unreachable { reason },
                }
            }
            Self::Wire { .. } | Self::Command(_) | Self::Http(_) | Self::Envoy(_) | Self::Haproxy(_) => {
                Proof::Unreachable { reason }
            }
        }
    }
}

/// What one sighting says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// The wanted generation, in all that can be seen there.
    New(Shown),
    /// The wanted chain, and nothing of the allowlist although it should show itself, for this reason.
    Less(String),
    /// Another generation.
    Old(u64, Part),
    /// Something else than the wanted generation, which names none.
    Otherwise(String),
    /// Not the wanted generation, nor will it be by waiting, for this reason.
    Kept(String),
    /// The wanted generation, but the server lets others in beside it, for this reason.
    Open(String),
    /// No marker of this store.
    NoMarker,
    /// No CertificateRequest.
    NotAsked,
    /// Nothing can be seen there, for this reason.
    Blind(String),
    /// No answer.
    Nothing(String),
}

/// The parts in which a way of looking shows the wanted generation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    /// Both.
    Both,
    /// The chain; the allowlist cannot be seen there, for this reason.
    Chain(String),
    /// The allowlist; the chain cannot be seen there, for this reason.
    Allowlist(String),
}

fn judge(sighting: &Sighting, wanted: &Wanted, settings: &WireProof) -> Seen {
    let header = match settings.generation {
        GenerationEvidence::None => None,
        GenerationEvidence::Header => {
            Some(sighting.generation_header.as_ref().and_then(|text| text.parse::<u64>().ok()))
        }
    };
    let Some(names) = &sighting.names else {
        return match header.flatten() {
            None => Seen::NotAsked,
            shown => allowlist_alone(shown, wanted, settings, ASKED_LATER),
        };
    };
    let of_store: Vec<MarkerName> =
        marker::find_in(names).into_iter().filter(|marker| marker.store_id == wanted.store_id).collect();
    // Two markers of one store: files of two generations were put together, and the older one acts too.
    if let Some(other) = of_store
        .iter()
        .find(|marker| marker.generation != wanted.generation || marker.digest_head != wanted.digest_head)
    {
        return Seen::Old(other.generation, Part::Chain);
    }
    let shows_chain = !of_store.is_empty();
    match header {
        Some(shown @ Some(_)) if !shows_chain && settings.marker => {
            allowlist_alone(shown, wanted, settings, OTHER_NAMES)
        }
        _ if !shows_chain && settings.marker && names.is_empty() => Seen::Blind(NO_NAMES.to_owned()),
        _ if !shows_chain && settings.marker => Seen::NoMarker,
        Some(Some(generation)) if generation != wanted.generation => Seen::Old(generation, Part::Allowlist),
        Some(Some(_)) if shows_chain => Seen::New(Shown::Both),
        Some(Some(_)) => Seen::New(Shown::Allowlist(
            "this target is configured without the generation marker, which shows the chain (marker = false)".into(),
        )),
        Some(None) if shows_chain => Seen::Less(format!(
            "the allowlist's generation header {} is absent: is the snippet included in this server?",
            wire::GENERATION_HEADER
        )),
        None if shows_chain => Seen::New(Shown::Chain(
            "this target is configured without evidence of the allowlist's generation".into(),
        )),
        Some(None) | None => Seen::Blind(
            "this target is configured without the generation marker (marker = false), and no header shows the allowlist's generation either".into(),
        ),
    }
}

/// The allowlist shows its generation where the chain cannot, for this reason.
fn allowlist_alone(shown: Option<u64>, wanted: &Wanted, settings: &WireProof, reason: &str) -> Seen {
    match shown {
        Some(generation) if generation != wanted.generation => Seen::Old(generation, Part::Allowlist),
        _ if settings.marker => Seen::Blind(reason.to_owned()),
        _ => Seen::New(Shown::Allowlist(reason.to_owned())),
    }
}

/// One way of looking, until the server has shown what it serves.
struct Watch {
    looker: Looker,
    settle: Duration,
    timeout: Duration,
    wanted: Wanted,
    patience: Patience,
    looks: u32,
}

/// Sightings in a row that say the same.
struct Streak {
    seen: Seen,
    since: Instant,
    looks: u32,
}

impl Watch {
    async fn look_until_settled(&mut self) -> Proof {
        let patient = match self.patience {
            Patience::JustTold => self.timeout,
            Patience::LongRunning => self.timeout.min(LONG_RUNNING),
        };
        let pause = self.looker.pause(self.settle);
        let asked = Instant::now();
        let deadline = asked + patient;
        let mut streak: Option<Streak> = None;
        let mut was_new = false;
        loop {
            let began = Instant::now();
            let limit = SIGHTING_LIMIT.min(deadline.saturating_duration_since(began)).max(PAUSE);
            let seen = self.looker.look(&self.wanted, limit).await;
            self.looks = self.looks.saturating_add(1);
            was_new |= matches!(seen, Seen::New(_) | Seen::Less(_));
            let current = match streak.take() {
                Some(same) if same.seen.continues(&seen) => {
                    Streak { seen, looks: same.looks.saturating_add(1), ..same }
                }
                _ => Streak { seen, since: Instant::now(), looks: 1 },
            };
            // From the end of the first look to the beginning of the last: what lies between was surely served.
            let lasted = began.saturating_duration_since(current.since);
            if current.looks >= STREAK && self.decides(&current.seen, lasted) {
                return self.verdict(current.seen).await;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return match current.seen {
                    seen @ Seen::Nothing(_) => self.verdict(seen).await,
                    seen @ Seen::Old(..) if lasted >= self.settle => self.verdict(seen).await,
                    seen if was_new => Proof::NotYet { reason: format!("last seen: {seen}") },
                    seen => self.verdict(seen).await,
                };
            }
            // A server that does not come to it is asked less and less often.
            let waits = match current.seen {
                Seen::New(_) => pause,
                _ => (asked.elapsed() / 10).clamp(pause, LONGEST_PAUSE),
            };
            streak = Some(current);
            sleep(waits.min(left)).await;
        }
    }

    /// Whether a streak of this kind that lasted so long needs no further look.
    fn decides(&self, seen: &Seen, lasted: Duration) -> bool {
        match (self.patience, seen) {
            (Patience::LongRunning, _) => true,
            (Patience::JustTold, Seen::New(_) | Seen::Kept(_) | Seen::Open(_)) => lasted >= self.settle,
            (Patience::JustTold, Seen::Less(_) | Seen::NoMarker | Seen::NotAsked | Seen::Blind(_)) => {
                lasted >= LESS_THAN_HOPED.max(self.settle)
            }
            (Patience::JustTold, Seen::Old(..) | Seen::Otherwise(_) | Seen::Nothing(_)) => false,
        }
    }

    async fn verdict(&self, seen: Seen) -> Proof {
        match seen {
            Seen::New(Shown::Both) => Proof::Proven,
            Seen::New(Shown::Chain(reason)) | Seen::Less(reason) => Proof::ChainOnly { reason },
            Seen::New(Shown::Allowlist(reason)) => Proof::AllowlistOnly { reason },
            Seen::Old(generation, part) => Proof::Refuted { generation, part },
            Seen::Otherwise(reason) => Proof::Otherwise { reason },
            Seen::Kept(reason) => Proof::Kept { reason },
            Seen::Open(places) => Proof::NotEnforced { places },
            Seen::NoMarker => Proof::NotWired,
            Seen::NotAsked => Proof::Unverifiable { reason: NOT_ASKED.to_owned() },
            Seen::Blind(reason) => Proof::Unverifiable { reason },
            Seen::Nothing(reason) => self.looker.explain(reason).await,
        }
    }
}

impl Seen {
    /// Whether `later` says the same; two failures are alike whatever their texts.
    fn continues(&self, later: &Self) -> bool {
        self == later || matches!((self, later), (Self::Nothing(_), Self::Nothing(_)))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New(_) => f.write_str("the wanted generation"),
            Self::Less(reason) => write!(f, "the wanted chain alone ({reason})"),
            Self::Old(generation, part) => write!(f, "generation {generation:06} in {part}"),
            Self::Kept(reason) | Self::Open(reason) => f.write_str(reason),
            Self::NoMarker => f.write_str("no marker of this store"),
            Self::NotAsked => f.write_str("no request for a client certificate"),
            Self::Blind(reason) | Self::Nothing(reason) | Self::Otherwise(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "the chain",
            Self::Allowlist => "the allowlist",
            Self::Word => "what it says of itself",
            Self::Secret => "its secret",
        })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven => f.write_str("proven"),
            Self::ChainOnly { reason } => write!(f, "chain only: {reason}"),
            Self::AllowlistOnly { reason } => write!(f, "allowlist only: {reason}"),
            Self::Unverifiable { reason } => write!(f, "unverifiable: {reason}"),
            Self::NotWired => f.write_str("not wired: the server shows no marker of this store"),
            Self::Unreachable { reason } => write!(f, "unreachable: {reason}"),
            Self::NotYet { reason } => {
                write!(f, "not yet: the wanted generation was seen, but not steadily ({reason})")
            }
            Self::Refuted { generation, part } => {
                write!(f, "refuted: generation {generation:06} is served in {part}")
            }
            Self::Otherwise { reason } => write!(f, "refuted: {reason}"),
            Self::Kept { reason } => write!(f, "refuted: {reason}"),
            Self::NotEnforced { places } => write!(f, "not enforced: {places}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_way_cannot_show_another_may_and_all_must_agree() {
        let chain = || Proof::ChainOnly { reason: String::new() };
        let allowlist = || Proof::AllowlistOnly { reason: String::new() };
        let of = |ways: &[Proof]| together(ways.iter().cloned());
        assert_eq!(of(&[chain(), allowlist()]), Proof::Proven);
        assert_eq!(of(&[chain(), Proof::Proven]), Proof::Proven);
        assert_eq!(of(&[chain(), chain()]), chain());
        assert_eq!(of(&[allowlist()]), allowlist());
        for bad in [Proof::NotWired, Proof::Refuted { generation: 1, part: Part::Allowlist }] {
            assert_eq!(of(&[chain(), bad.clone(), Proof::Proven]), bad);
        }
        assert!(matches!(of(&[]), Proof::Unverifiable { .. }));
    }

    #[test]
    fn over_several_addresses_the_worst_outcome_stands() {
        let mut proofs = [
            Proof::Refuted { generation: 1, part: Part::Chain },
            Proof::Proven,
            Proof::NotWired,
            Proof::Unverifiable { reason: String::new() },
            Proof::ChainOnly { reason: String::new() },
            Proof::NotYet { reason: String::new() },
            Proof::Unreachable { reason: String::new() },
        ];
        proofs.sort();
        assert_eq!(proofs.first(), Some(&Proof::Proven));
        assert_eq!(proofs.last(), Some(&Proof::Refuted { generation: 1, part: Part::Chain }));
    }
}

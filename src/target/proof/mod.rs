//! Evidence, taken from outside and without the client's key, that a server serves a generation.
//!
//! ```text
//!  look ─▶ judge ─▶ streak of new sightings as long as `settle`? ─▶ proven (or chain only)
//!   ▲                       │ no: an old one begins it anew
//!   └──── some 30 ms ───────┴─▶ the end of `timeout`: what was seen last is the outcome
//! ```
//! nginx answers with the old set up to 300 ms after the first new answer, from workers that are still to end: so one
//! sighting proves nothing, and a streak counts only if it is unbroken and lasts. Two parts are told apart: the *chain*
//! (the generation marker among the names of the CertificateRequest) and the *allowlist* (a header whose value is defined
//! beside it). That the server enforces the allowlist is not claimed: see [`crate::target::nginx`].

pub mod marker;
pub mod wire;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::settings::resolved::{GenerationEvidence, WireProof};
use crate::target::proof::wire::{SIGHTING_LIMIT, Sighting, look};
use crate::trust::marker_name::MarkerName;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(30);

/// The fewest sightings that make a streak, however slow they are.
const STREAK: u32 = 3;

/// For how long a server that was told just now must show less than hoped (no header, no marker of this store, no request
/// for a certificate) to be judged by that: a busy one may need most of a second before its first new answer.
const LESS_THAN_HOPED: Duration = Duration::from_millis(1_200);

/// How long a server that nobody told lately is looked at, at most.
const LONG_RUNNING: Duration = Duration::from_secs(3);

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
}

/// What a generation was seen in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The marker in the CertificateRequest.
    Chain,
    /// The header beside the allowlist.
    Allowlist,
}

/// What one address proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressProof {
    /// As configured.
    pub connect: String,
    /// What that resolved to; none if it did not.
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

/// Looks at every address that `proof` names (each IP of each name, both families), all at once, until each has shown what
/// it serves.
pub async fn prove(proof: &WireProof, wanted: &Wanted, patience: Patience) -> ProofReport {
    let mut addresses = Vec::new();
    let mut looks = JoinSet::new();
    for connect in &proof.connect {
        match resolve(connect).await {
            Ok(found) => {
                for address in found.into_iter().take(ADDRESSES.saturating_sub(looks.len())) {
                    let place = addresses.len();
                    addresses.push(AddressProof {
                        connect: connect.clone(),
                        address: Some(address),
                        proof: Proof::Unreachable { reason: "it was not looked at".into() },
                        looks: 0,
                    });
                    let mut watch = Watch::over(address, proof.clone(), wanted.clone(), patience);
                    looks.spawn(async move { (place, watch.look_until_settled().await, watch.looks) });
                }
            }
            Err(reason) => addresses.push(AddressProof {
                connect: connect.clone(),
                address: None,
                proof: Proof::Unreachable { reason },
                looks: 0,
            }),
        }
    }
    while let Some(done) = looks.join_next().await {
        if let Ok((place, proof, looks)) = done
            && let Some(slot) = addresses.get_mut(place)
        {
            slot.proof = proof;
            slot.looks = looks;
        }
    }
    let highest = addresses.iter().map(|address| address.proof.clone()).max();
    ProofReport {
        proof: highest.unwrap_or_else(|| Proof::Unverifiable { reason: "no address to look at is configured".into() }),
        addresses,
    }
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

/// What one sighting says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// The wanted generation in every part that can show one.
    New,
    /// The wanted chain, and no header although there should be one.
    NewWithoutHeader,
    /// Another generation.
    Old(u64, Part),
    /// No marker of this store.
    NoMarker,
    /// No CertificateRequest.
    NotAsked,
    /// No answer.
    Nothing(String),
}

fn judge(sighting: &Sighting, wanted: &Wanted, evidence: GenerationEvidence) -> Seen {
    let Some(names) = &sighting.names else {
        return Seen::NotAsked;
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
    if of_store.is_empty() {
        return Seen::NoMarker;
    }
    match (evidence, &sighting.generation_header) {
        (GenerationEvidence::None, _) => Seen::New,
        (GenerationEvidence::Header, None) => Seen::NewWithoutHeader,
        (GenerationEvidence::Header, Some(header)) => match header.parse::<u64>() {
            Ok(generation) if generation == wanted.generation => Seen::New,
            Ok(generation) => Seen::Old(generation, Part::Allowlist),
            Err(_) => Seen::NewWithoutHeader,
        },
    }
}

/// One address, looked at until it has shown what it serves.
struct Watch {
    address: SocketAddr,
    settings: WireProof,
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
    fn over(address: SocketAddr, settings: WireProof, wanted: Wanted, patience: Patience) -> Self {
        Self { address, settings, wanted, patience, looks: 0 }
    }

    async fn look_until_settled(&mut self) -> Proof {
        let patient = match self.patience {
            Patience::JustTold => self.settings.timeout,
            Patience::LongRunning => self.settings.timeout.min(LONG_RUNNING),
        };
        let deadline = Instant::now() + patient;
        let mut streak: Option<Streak> = None;
        let mut was_new = false;
        loop {
            let began = Instant::now();
            let limit = SIGHTING_LIMIT.min(deadline.saturating_duration_since(began)).max(PAUSE);
            let server_name = self.settings.server_name.as_deref();
            let seen = match look(self.address, server_name, &self.settings.path, limit).await {
                Ok(sighting) => judge(&sighting, &self.wanted, self.settings.generation),
                Err(error) => Seen::Nothing(error.to_string()),
            };
            self.looks = self.looks.saturating_add(1);
            was_new |= matches!(seen, Seen::New | Seen::NewWithoutHeader);
            let current = match streak.take() {
                Some(same) if same.seen.continues(&seen) => {
                    Streak { seen, looks: same.looks.saturating_add(1), ..same }
                }
                _ => Streak { seen, since: Instant::now(), looks: 1 },
            };
            // From the end of the first look to the beginning of the last: what lies between was surely served.
            let lasted = began.saturating_duration_since(current.since);
            if current.looks >= STREAK && self.decides(&current.seen, lasted) {
                return self.verdict(current.seen);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return match current.seen {
                    Seen::Nothing(reason) => Proof::Unreachable { reason },
                    seen @ Seen::Old(..) if lasted >= self.settings.settle => self.verdict(seen),
                    seen if was_new => Proof::NotYet { reason: format!("last seen: {seen}") },
                    seen => self.verdict(seen),
                };
            }
            streak = Some(current);
            sleep(PAUSE.min(left)).await;
        }
    }

    /// Whether a streak of this kind that lasted so long needs no further look.
    fn decides(&self, seen: &Seen, lasted: Duration) -> bool {
        match (self.patience, seen) {
            (Patience::LongRunning, _) => true,
            (Patience::JustTold, Seen::New) => lasted >= self.settings.settle,
            (Patience::JustTold, Seen::NewWithoutHeader | Seen::NoMarker | Seen::NotAsked) => {
                lasted >= LESS_THAN_HOPED.max(self.settings.settle)
            }
            (Patience::JustTold, Seen::Old(..) | Seen::Nothing(_)) => false,
        }
    }

    fn verdict(&self, seen: Seen) -> Proof {
        match seen {
            Seen::New if self.settings.generation == GenerationEvidence::None => Proof::ChainOnly {
                reason: "this target is configured without evidence of the allowlist's generation".into(),
            },
            Seen::New => Proof::Proven,
            Seen::NewWithoutHeader => Proof::ChainOnly {
                reason: format!(
                    "the allowlist's generation header {} is absent: is the snippet included in this server?",
                    wire::GENERATION_HEADER
                ),
            },
            Seen::Old(generation, part) => Proof::Refuted { generation, part },
            Seen::NoMarker => Proof::NotWired,
            Seen::NotAsked => Proof::Unverifiable {
                reason: "the server does not ask for a client certificate in its handshake, at this address and by this name".into(),
            },
            Seen::Nothing(reason) => Proof::Unreachable { reason },
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
            Self::New => f.write_str("the wanted generation"),
            Self::NewWithoutHeader => f.write_str("the wanted chain, without the allowlist's header"),
            Self::Old(generation, part) => write!(f, "generation {generation:06} in {part}"),
            Self::NoMarker => f.write_str("no marker of this store"),
            Self::NotAsked => f.write_str("no request for a client certificate"),
            Self::Nothing(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "the chain",
            Self::Allowlist => "the allowlist",
        })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven => f.write_str("proven"),
            Self::ChainOnly { reason } => write!(f, "chain only: {reason}"),
            Self::Unverifiable { reason } => write!(f, "unverifiable: {reason}"),
            Self::NotWired => f.write_str("not wired: the server shows no marker of this store"),
            Self::Unreachable { reason } => write!(f, "unreachable: {reason}"),
            Self::NotYet { reason } => {
                write!(f, "not yet: the wanted generation was seen, but not steadily ({reason})")
            }
            Self::Refuted { generation, part } => {
                write!(f, "refuted: generation {generation:06} is served in {part}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

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
//! [`crate::targets::nginx`].

mod envoy;
mod haproxy;
mod look;
pub mod marker;
mod spoken;
mod watch;
pub mod wire;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::settings::resolved;
use crate::targets::http::Asker;
use crate::targets::process::Environment;
use crate::targets::proof::envoy::Admin;
use crate::targets::proof::look::Looker;
pub use crate::targets::proof::look::{NO_NAMES, NOT_ASKED, OTHER_NAMES};
use crate::targets::proof::watch::Watch;
use crate::targets::proof::wire::SIGHTING_LIMIT;

/// Of a place whose look came to no end.
const NOT_LOOKED_AT: &str = "it was not looked at";

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
    /// The chain is; the allowlist should show its generation there, and does not. No other way of looking makes up for it.
    Lacking {
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
                        addresses.push(unlooked(connect, Some(address), NOT_LOOKED_AT.to_owned()));
                    }
                }
                Err(reason) => addresses.push(unlooked(connect, None, reason)),
            }
        }
    }
    let on_the_wire = addresses.len();
    let command = proof.command.as_ref().map(|argv| ("command".to_owned(), Ok(Looker::Command(argv.clone()))));
    let envoy = proof.envoy.as_ref().map(|settings| {
        let looker = Admin::of(settings).map(|admin| Looker::Envoy(Box::new(admin)));
        (settings.admin.to_string(), looker.map_err(|error| error.to_string()))
    });
    let http = proof.http.as_ref().map(|endpoint| {
        (endpoint.to_string(), Asker::of(endpoint).map(Looker::Http).map_err(|error| error.to_string()))
    });
    let haproxy = proof
        .haproxy
        .as_ref()
        .map(|socket| (socket.to_string_lossy().into_owned(), Ok(Looker::Haproxy(socket.clone()))));
    for (place, looker) in [command, envoy, http, haproxy].into_iter().flatten() {
        let reason = match looker {
            Ok(looker) => {
                lookers.push((addresses.len(), looker));
                NOT_LOOKED_AT.to_owned()
            }
            Err(why) => why,
        };
        addresses.push(unlooked(&place, None, reason));
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
            Self::ChainOnly { reason } | Self::Lacking { reason } => write!(f, "chain only: {reason}"),
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
        // One of several listeners lacks the snippet.
        let lacking = || Proof::Lacking { reason: String::new() };
        assert_eq!(of(&[lacking(), Proof::Proven]), lacking());
        assert_eq!(of(&[lacking(), allowlist()]), lacking());
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

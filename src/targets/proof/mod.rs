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

mod look;
pub mod marker;
pub(super) mod seen;
mod spoken;
mod watch;
pub mod wire;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::targets::envoy::look::Admin;
use crate::targets::haproxy;
use crate::targets::http::Asker;
use crate::targets::proof::look::Looker;
pub use crate::targets::proof::seen::{Part, Patience, Seen, Wanted};
use crate::targets::proof::watch::Watch;
use crate::targets::proof::wire::HANDSHAKE_LIMIT;
use crate::targets::ways;

/// Of a place whose look came to no end.
const NOT_LOOKED_AT: &str = "it was not looked at";

/// The most addresses that one proof looks at.
const ADDRESSES: usize = 64;

/// What one look-out proves: an address, or another way of looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressProof {
    /// As configured.
    pub connect: String,
    /// What that resolved to; none if it did not, or is no address.
    pub address: Option<SocketAddr>,
    /// What it proves.
    pub proof: Seen,
    /// How many times it was looked at.
    pub looks: u32,
}

/// What a target proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofReport {
    /// Over all addresses: they must agree, so the highest of theirs.
    pub proof: Seen,
    /// Each address, in the order configured.
    pub addresses: Vec<AddressProof>,
}

/// Looks in every way that `proof` names (each IP of each name, both families), all at once, until each has shown what the
/// server serves.
pub async fn prove(proof: &ways::ProofMethods, wanted: &Wanted, patience: Patience) -> ProofReport {
    let mut addresses = Vec::new();
    let mut lookers = Vec::new();
    let unlooked = |connect: &str, address, reason: String| AddressProof {
        connect: connect.to_owned(),
        address,
        proof: Seen::Unreachable(reason),
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
    let wire = wire.map(|wire| {
        if proof.haproxy.is_some() {
            haproxy::look::unadvertised(wire, others.iter().map(|other| &other.proof))
        } else {
            wire
        }
    });
    let proof = together(wire.into_iter().chain(others.iter().map(|other| other.proof.clone())));
    ProofReport { proof, addresses }
}

/// What different ways of looking prove together: the worst of them, unless each saw the wanted generation in a part.
fn together(ways: impl Iterator<Item = Seen>) -> Seen {
    let (mut chain, mut allowlist, mut worst) = (false, false, None);
    for proof in ways {
        chain |= matches!(proof, Seen::Proven | Seen::ChainOnly(_));
        allowlist |= matches!(proof, Seen::Proven | Seen::AllowlistOnly(_));
        worst = worst.max(Some(proof));
    }
    match worst {
        Some(Seen::ChainOnly(_) | Seen::AllowlistOnly(_)) if chain && allowlist => Seen::Proven,
        Some(worst) => worst,
        None => Seen::Unverifiable("no address to look at is configured".into()),
    }
}

async fn resolve(connect: &str) -> Result<BTreeSet<SocketAddr>, String> {
    match timeout(HANDSHAKE_LIMIT, lookup_host(connect)).await {
        Ok(Ok(found)) => {
            let found: BTreeSet<SocketAddr> = found.collect();
            if found.is_empty() { Err(format!("{connect} resolves to no address")) } else { Ok(found) }
        }
        Ok(Err(error)) => Err(format!("{connect} cannot be resolved: {error}")),
        Err(_) => Err(format!("{connect} could not be resolved in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_way_cannot_show_another_may_and_all_must_agree() {
        let chain = || Seen::ChainOnly(String::new());
        let allowlist = || Seen::AllowlistOnly(String::new());
        let of = |ways: &[Seen]| together(ways.iter().cloned());
        assert_eq!(of(&[chain(), allowlist()]), Seen::Proven);
        assert_eq!(of(&[chain(), Seen::Proven]), Seen::Proven);
        assert_eq!(of(&[chain(), chain()]), chain());
        assert_eq!(of(&[allowlist()]), allowlist());
        // One of several listeners lacks the snippet.
        let lacking = || Seen::Lacking(String::new());
        assert_eq!(of(&[lacking(), Seen::Proven]), lacking());
        assert_eq!(of(&[lacking(), allowlist()]), lacking());
        for bad in [Seen::NotWired, Seen::Refuted { generation: 1, part: Part::Allowlist }] {
            assert_eq!(of(&[chain(), bad.clone(), Seen::Proven]), bad);
        }
        assert!(matches!(of(&[]), Seen::Unverifiable(_)));
    }

    #[test]
    fn over_several_addresses_the_worst_outcome_stands() {
        let mut proofs = [
            Seen::Refuted { generation: 1, part: Part::Chain },
            Seen::Proven,
            Seen::NotWired,
            Seen::Unverifiable(String::new()),
            Seen::ChainOnly(String::new()),
            Seen::NotYet(String::new()),
            Seen::Unreachable(String::new()),
        ];
        proofs.sort();
        assert_eq!(proofs.first(), Some(&Seen::Proven));
        assert_eq!(proofs.last(), Some(&Seen::Refuted { generation: 1, part: Part::Chain }));
    }
}

//! Evidence, taken from outside and without the client's key, that a server serves a generation.
//!
//! ```text
//!  observe ─▶ streak of new observations as long as `settle`? ─▶ proven (or chain only)
//!   ▲                       │ no: an old one begins it anew
//!   └──── 10 to 500 ms ─────┴─▶ the end of `timeout`: what was seen last is the outcome
//! ```
//! nginx answers with the old set up to 300 ms after the first new answer, from workers that have yet to end. So one
//! observation proves nothing, and a streak counts only if it is unbroken and lasts. There are two parts: the *chain*
//! (the generation marker among the names of the CertificateRequest) and the *allowlist* (a header whose value is
//! defined beside it). A server that reports which generation it has loaded (`self_report`) answers for both. What one
//! way cannot show, another may; where several are configured, all must agree. That the server enforces the allowlist
//! is not claimed: see [`crate::targets::nginx`].

pub mod marker;
pub mod observe;
mod observer;
mod plain_hello;
pub mod seen;
mod self_report;
mod watch;
pub mod wire;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::targets::http::Asker;
use crate::targets::kind::Kind;
use crate::targets::proof::observe::{OBSERVATION_LIMIT, Observe};
use crate::targets::proof::observer::{Command, Expected, Wire};
use crate::targets::proof::seen::{Caveat, Seen};
pub use crate::targets::proof::seen::{NOT_OURS, Patience, Wanted, of_generation};
use crate::targets::proof::watch::Watch;
use crate::targets::ways::ProofMethods;
use crate::trust::turn::Proof;

/// Of a place that no observation came to an end at.
const NOT_OBSERVED: &str = "it was not observed";

/// The most addresses that one proof observes.
const ADDRESSES: usize = 64;

/// What one place proves: an address, or another way of observing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceProof {
    /// As configured.
    pub place: String,
    /// What that resolved to; none if it did not, or is not an address.
    pub address: Option<SocketAddr>,
    /// What it proves.
    pub proof: Proof,
    /// How many times it was observed.
    pub observations: u32,
}

/// What a target proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofReport {
    /// Over all places: they must agree, so the highest of theirs.
    pub proof: Proof,
    /// Each place, in the order configured.
    pub places: Vec<PlaceProof>,
}

/// A place to observe, or why that cannot be.
struct Place {
    name: String,
    address: Option<SocketAddr>,
    observer: Result<Arc<dyn Observe>, String>,
    is_on_the_wire: bool,
    /// Which of the configured names it is an address of, where all of that name's addresses are this machine's own: a
    /// server that listens at some of them need not at the others (`localhost` is `::1` and `127.0.0.1`).
    alternative_of: Option<usize>,
}

/// Observes a server of this kind in every way that `methods` names (each IP of each name, both families), all at once,
/// until each has shown what the server serves.
pub async fn prove(kind: Kind, methods: &ProofMethods, wanted: &Wanted, patience: Patience) -> ProofReport {
    let places = places(kind, methods).await;
    let on_the_wire = places.iter().take_while(|place| place.is_on_the_wire).count();
    let (settle, timeout) = (methods.settle, methods.timeout);
    let mut running = JoinSet::new();
    let mut seen: Vec<(Seen, u32)> = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let unseen = place.observer.as_ref().err().cloned().unwrap_or_else(|| NOT_OBSERVED.to_owned());
        seen.push((Proof::Unreachable(unseen).into(), 0));
        if let Ok(observer) = place.observer.clone() {
            let (wanted, may_be_left_out) = (wanted.clone(), place.alternative_of.is_some());
            let mut watch = Watch { observer, settle, timeout, wanted, patience, may_be_left_out, observations: 0 };
            running.spawn(async move { (index, watch.until_settled().await, watch.observations) });
        }
    }
    while let Some(done) = running.join_next().await {
        if let Ok((index, shown, observations)) = done
            && let Some(slot) = seen.get_mut(index)
        {
            *slot = (shown, observations);
        }
    }
    let (wire, others) = seen.split_at(on_the_wire.min(seen.len()));
    let others: Vec<Seen> = others.iter().map(|(other, _)| other.clone()).collect();
    let wire = over_addresses(places.iter().zip(wire.iter().map(|(shown, _)| shown)).collect());
    let wire = wire.map(|wire| methods.own.iter().fold(wire, |wire, own| (own.reconsider)(wire, &others)));
    let proof = together(wire.into_iter().chain(others));
    let place = |(place, (shown, observations)): (Place, (Seen, u32))| PlaceProof {
        place: place.name,
        address: place.address,
        proof: shown.proof,
        observations,
    };
    ProofReport { proof, places: places.into_iter().zip(seen).map(place).collect() }
}

/// What all addresses show: of several the worst stands, since they are to show the same. Then each is named.
fn over_addresses(shown: Vec<(&Place, &Seen)>) -> Option<Seen> {
    let listens = |name: usize| {
        shown.iter().any(|(place, seen)| place.alternative_of == Some(name) && seen.caveat != Caveat::Refused)
    };
    let is_left_out =
        |place: &Place, seen: &Seen| seen.caveat == Caveat::Refused && place.alternative_of.is_some_and(listens);
    let counted: Vec<_> = shown.iter().filter(|(place, seen)| !is_left_out(place, seen)).collect();
    let worst = worst(counted.iter().map(|(_, seen)| *seen))?.clone();
    if counted.iter().all(|(_, seen)| seen.rank() == worst.rank()) {
        return Some(worst);
    }
    let each = counted.iter().map(|(place, seen)| match place.address {
        Some(address) => format!("{address} is {}", seen.proof),
        None => format!("{} is {}", place.name, seen.proof),
    });
    let each = each.collect::<Vec<_>>().join("; ");
    Some(Seen { proof: worst.proof.because(each), ..worst })
}

/// The one of the highest rank. A place that cannot see does not outvote one that sees something missing.
fn worst<'a>(shown: impl Iterator<Item = &'a Seen> + Clone) -> Option<&'a Seen> {
    let lacks = shown.clone().any(Seen::lacks_something);
    shown.filter(|seen| !(lacks && seen.is_unseen())).max_by_key(|seen| seen.rank())
}

/// Whether a configured address is a name.
fn is_name(connect: &str) -> bool {
    connect.parse::<SocketAddr>().is_err()
}

/// Every place, those on the wire first.
async fn places(kind: Kind, methods: &ProofMethods) -> Vec<Place> {
    let mut places = Vec::new();
    if let Some(wire) = &methods.wire {
        for (number, connect) in wire.connect.iter().enumerate() {
            let mut alternative_of = None;
            let place = |address, observer, alternative_of| Place {
                name: connect.clone(),
                address,
                observer,
                is_on_the_wire: true,
                alternative_of,
            };
            match resolve(connect).await {
                Ok(found) => {
                    if is_name(connect) && found.iter().all(|address| address.ip().is_loopback()) {
                        alternative_of = Some(number);
                    }
                    let known = places.iter().filter(|place: &&Place| place.address.is_some()).count();
                    for address in found.into_iter().take(ADDRESSES.saturating_sub(known)) {
                        let (settings, expected) = (wire.clone(), Expected::of(kind, methods));
                        let wire: Arc<dyn Observe> = Arc::new(Wire { address, settings, expected });
                        places.push(place(Some(address), Ok(wire), alternative_of));
                    }
                }
                Err(reason) => places.push(place(None, Err(reason), None)),
            }
        }
    }
    let mut other = |name, observer| {
        places.push(Place { name, address: None, observer, is_on_the_wire: false, alternative_of: None });
    };
    if let Some(argv) = &methods.command {
        other("command".to_owned(), Ok(Arc::new(Command(argv.clone()))));
    }
    if let Some(endpoint) = &methods.http {
        let asker = Asker::of(endpoint).map_err(|error| error.to_string());
        other(endpoint.to_string(), asker.map(|asker| Arc::new(asker) as Arc<dyn Observe>));
    }
    for own in &methods.own {
        other(own.place.clone(), (own.observer)());
    }
    places
}

/// What different ways prove together: the worst of them, unless each saw the wanted generation in a part.
fn together(ways: impl Iterator<Item = Seen>) -> Proof {
    let ways: Vec<Seen> = ways.collect();
    let shows_chain =
        |seen: &Seen| matches!(seen.proof, Proof::Proven | Proof::ChainOnly(_) | Proof::AllowlistUnseen(_));
    let chain = ways.iter().any(shows_chain);
    let allowlist = ways.iter().any(|seen| matches!(seen.proof, Proof::Proven | Proof::AllowlistOnly(_)));
    let complete = chain && allowlist && !ways.iter().any(|seen| seen.caveat == Caveat::AllowlistMissing);
    // A way that cannot see does not outvote those that see it all.
    let counts = |seen: &Seen| !(complete && seen.caveat == Caveat::OurLimit);
    match worst(ways.iter().filter(|seen| counts(seen))).map(|worst| worst.proof.clone()) {
        Some(Proof::ChainOnly(_) | Proof::AllowlistOnly(_) | Proof::AllowlistUnseen(_)) if complete => Proof::Proven,
        Some(worst) => worst,
        None => Proof::Unverifiable("no address to observe is configured".into()),
    }
}

async fn resolve(connect: &str) -> Result<BTreeSet<SocketAddr>, String> {
    match timeout(OBSERVATION_LIMIT, lookup_host(connect)).await {
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
        let chain = || Seen::from(Proof::ChainOnly(String::new()));
        let allowlist = || Seen::from(Proof::AllowlistOnly(String::new()));
        let proven = || Seen::from(Proof::Proven);
        let of = |ways: &[Seen]| together(ways.iter().cloned());
        assert_eq!(of(&[chain(), allowlist()]), Proof::Proven);
        assert_eq!(of(&[chain(), proven()]), Proof::Proven);
        assert_eq!(of(&[chain(), chain()]), chain().proof);
        assert_eq!(of(&[allowlist()]), allowlist().proof);
        // A way that cannot see outvotes none that does.
        let unseen = || Seen::from(Proof::AllowlistUnseen(String::new()));
        let blind = || Seen::with(Proof::Unverifiable(String::new()), Caveat::OurLimit);
        // What could be seen, were it configured otherwise, is missing.
        let hidden = || Seen::from(Proof::Unverifiable(String::new()));
        assert_eq!(of(&[hidden(), proven()]), hidden().proof);
        assert_eq!(of(&[unseen()]), unseen().proof);
        assert_eq!(of(&[unseen(), allowlist()]), Proof::Proven);
        assert_eq!(of(&[blind(), proven()]), Proof::Proven);
        assert_eq!(of(&[blind(), allowlist()]), blind().proof);
        // One of several listeners lacks the snippet.
        let lacking = || Seen::with(Proof::ChainOnly(String::new()), Caveat::AllowlistMissing);
        assert_eq!(of(&[lacking(), proven()]), lacking().proof);
        assert_eq!(of(&[lacking(), allowlist()]), lacking().proof);
        for bad in [Proof::NotWired(String::new()), of_generation("the allowlist", 1)] {
            assert_eq!(of(&[chain(), bad.clone().into(), proven()]), bad);
        }
        assert!(matches!(of(&[]), Proof::Unverifiable(_)));
    }

    #[test]
    fn a_place_that_cannot_see_does_not_outvote_one_that_sees_something_missing() {
        let place = || Place {
            name: "a".to_owned(),
            address: None,
            observer: Err(String::new()),
            is_on_the_wire: true,
            alternative_of: None,
        };
        for lacking in [
            Seen::with(Proof::ChainOnly("lacking".into()), Caveat::AllowlistMissing),
            Seen::with(Proof::NotWired("lacking".into()), Caveat::NotAsked),
            Seen::with(Proof::NotWired("lacking".into()), Caveat::OtherNames),
        ] {
            for blind in [
                Proof::Unverifiable("blind".into()).into(),
                Seen::with(Proof::Unverifiable("blind".into()), Caveat::OurLimit),
                Proof::AllowlistUnseen("blind".into()).into(),
            ] {
                let (one, other) = (place(), place());
                let over = over_addresses(vec![(&one, &lacking), (&other, &blind)]).unwrap();
                assert_eq!(over.rank(), lacking.rank(), "{blind:?}");
                let (Proof::ChainOnly(why) | Proof::NotWired(why)) = over.proof else { panic!("{over:?}") };
                assert!(why.contains("blind"), "each is named: {why}");
                assert_eq!(together([lacking.clone(), blind].into_iter()), lacking.proof);
            }
            // What is worse stands all the same.
            let worse: Seen = Proof::Unreachable(String::new()).into();
            assert_eq!(together([lacking, worse.clone()].into_iter()), worse.proof);
        }
    }

    #[test]
    fn over_several_addresses_the_worst_outcome_stands() {
        let why = String::new;
        // From the best to the worst, whatever the reasons say.
        let ranked = [
            Proof::Proven.into(),
            Proof::AllowlistOnly("z".into()).into(),
            Proof::ChainOnly("z".into()).into(),
            Seen::with(Proof::ChainOnly(why()), Caveat::AllowlistMissing),
            Seen::with(Proof::NotWired(why()), Caveat::NotAsked),
            Seen::with(Proof::NotWired(why()), Caveat::OtherNames),
            Proof::AllowlistUnseen("z".into()).into(),
            Proof::Unverifiable("z".into()).into(),
            Proof::NotWired("z".into()).into(),
            Proof::Unreachable("z".into()).into(),
            Proof::NotYet("z".into()).into(),
            of_generation("the chain", 1).into(),
            Seen::other_content(why()),
            Seen::kept(why()),
            Proof::NotEnforced(why()).into(),
        ];
        assert!(ranked.is_sorted_by_key(Seen::rank));
        for pair in ranked.windows(2) {
            assert!(pair[0].rank() < pair[1].rank(), "{pair:?}");
        }
    }
}

//! The ways of observing a server once, and what one handshake says of the wanted generation.

use std::net::SocketAddr;
use std::time::Duration;

use crate::targets::BoxFuture;
use crate::targets::http::Asker;
use crate::targets::kind::Kind;
use crate::targets::proof::observe::Observe;
use crate::targets::proof::seen::{Caveat, Seen, Wanted, not_ours, of_generation};
use crate::targets::proof::wire::{Handshake, WireError, shake_hands};
use crate::targets::proof::{marker, self_report, wire};
use crate::targets::ways::{GenerationEvidence, ProofMethods, ProxyProtocol, WireProof};
use crate::trust::turn::Proof;
use crate::trust::values::marker_name::MarkerName;

/// Between two runs of a command.
const COMMAND_PAUSE: Duration = Duration::from_millis(100);

/// How long is spent at most to find out why nothing can be seen.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(1);

/// Why nothing is seen of a server that answers once a header stands before the handshake.
const PROXIED: &str =
    "the server answers only clients that begin with the PROXY protocol: set proof.proxy_protocol to \"v1\" or \"v2\"";

/// Why nothing is seen of a server without a CertificateRequest.
const NOT_ASKED: &str =
    "the server does not ask for a client certificate in its handshake, at this address and by this name";

/// Why the chain is not seen of one that does not ask, and shows our header.
const ASKED_LATER: &str = "its allowlist is of the wanted generation, but which authorities it accepts cannot be seen: \
     it may ask later, for some locations";

/// Why the chain is not seen of one that asks by other names, and shows our header.
const OTHER_NAMES: &str = "its allowlist is of the wanted generation, but the names that it advertises are not those \
     of this store's bundle (another CA file at this address, or a list of names of its own, as Apache's \
     SSLCADNRequestFile), so which authorities it accepts cannot be seen";

/// Why the chain is not seen of one that asks for anybody's certificate.
const NO_NAMES: &str = "the server asks for a client certificate and names no authority at all, so which ones it \
     accepts cannot be seen: so do HAProxy with no-ca-names and nginx with ssl_trusted_certificate alone";

/// A handshake and one GET, at this address.
pub(super) struct Wire {
    pub(super) address: SocketAddr,
    pub(super) settings: WireProof,
    pub(super) expected: Expected,
}

impl Observe for Wire {
    fn observe<'a>(&'a self, wanted: &'a Wanted, limit: Duration) -> BoxFuture<'a, Seen> {
        Box::pin(async move {
            match shake_hands(self.address, &self.settings, limit).await {
                Ok(handshake) => read_handshake(&handshake, wanted, &self.settings, self.expected),
                Err(error @ WireError::Refused(_)) => {
                    Seen::with(Proof::Unreachable(error.to_string()), Caveat::Refused)
                }
                Err(error @ WireError::NothingShared(_)) => {
                    Seen::with(Proof::Unverifiable(error.to_string()), Caveat::OurLimit)
                }
                Err(error @ (WireError::Unanswered | WireError::UnknownName(_))) => {
                    Proof::Unverifiable(error.to_string()).into()
                }
                Err(error) => Proof::Unreachable(error.to_string()).into(),
            }
        })
    }

    fn explain(&self, reason: String) -> BoxFuture<'_, Proof> {
        Box::pin(async move {
            if self.settings.proxy_protocol.is_none() {
                let with_header = WireProof { proxy_protocol: Some(ProxyProtocol::V1), ..self.settings.clone() };
                if shake_hands(self.address, &with_header, EXPLAINED_WITHIN).await.is_ok() {
                    return Proof::Unverifiable(PROXIED.to_owned());
                }
            }
            Proof::Unreachable(reason)
        })
    }
}

/// What this command says.
pub(super) struct Command(pub(super) Vec<String>);

impl Observe for Command {
    fn observe<'a>(&'a self, wanted: &'a Wanted, limit: Duration) -> BoxFuture<'a, Seen> {
        Box::pin(async move { self_report::by_command(&self.0, wanted, limit).await.into() })
    }

    /// It may go a long way, as by ssh.
    fn limit(&self) -> Duration {
        Duration::MAX
    }

    /// A process each.
    fn pause(&self, _: Duration) -> Duration {
        COMMAND_PAUSE
    }
}

/// What is answered there.
impl Observe for Asker {
    fn observe<'a>(&'a self, wanted: &'a Wanted, limit: Duration) -> BoxFuture<'a, Seen> {
        Box::pin(async move { self_report::by_http(self, wanted, limit).await.into() })
    }
}

/// What a handshake with a server of some kind, configured by our lines, is expected to show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// A request for a certificate from every client, or else a generation of the allowlist.
    asks_every_client: bool,
    /// The names of the authorities that it accepts, and no others.
    advertises_its_own_names: bool,
}

impl Expected {
    pub(super) fn of(kind: Kind, methods: &ProofMethods) -> Self {
        Self {
            asks_every_client: kind.asks_every_client && methods.shows_allowlist(),
            advertises_its_own_names: !kind.advertises_other_names,
        }
    }
}

fn read_handshake(handshake: &Handshake, wanted: &Wanted, settings: &WireProof, expected: Expected) -> Seen {
    // `None`: no header is configured; `Some(None)`: it should be there, and is not.
    let header = (settings.generation == GenerationEvidence::Header)
        .then(|| handshake.generation_header.as_ref().and_then(|text| text.parse::<u64>().ok()));
    let Some(names) = &handshake.names else {
        return match handshake.unreadable {
            Some(why) => Seen::with(Proof::Unverifiable(format!("{NOT_ASKED}; {why}")), Caveat::NotAsked),
            None => without_request(header.flatten(), wanted, settings.marker, expected),
        };
    };
    let of_store: Vec<MarkerName> =
        marker::find_in(names).into_iter().filter(|marker| marker.store_id == wanted.store_id).collect();
    // Two markers of one store: files of two generations were put together, and the older one acts too.
    if let Some(other) = of_store
        .iter()
        .find(|marker| marker.generation != wanted.generation || marker.digest_head != wanted.digest_head)
    {
        return of_generation("the chain", other.generation).into();
    }
    let shows_chain = !of_store.is_empty();
    match header {
        Some(Some(shown)) if shown != wanted.generation => of_generation("the allowlist", shown).into(),
        Some(Some(_)) if !shows_chain && settings.marker => {
            let own_names = expected.advertises_its_own_names;
            let proof = if own_names { not_ours() } else { Proof::Unverifiable(OTHER_NAMES.to_owned()) };
            Seen::with(proof, Caveat::OtherNames)
        }
        _ if !shows_chain && settings.marker && names.is_empty() => Proof::Unverifiable(NO_NAMES.to_owned()).into(),
        _ if !shows_chain && settings.marker => not_ours().into(),
        Some(Some(_)) if shows_chain => Proof::Proven.into(),
        Some(Some(_)) => Proof::AllowlistOnly(
            "the target has no generation marker, which shows the chain (marker = false)".to_owned(),
        )
        .into(),
        Some(None) if shows_chain && handshake.unreadable.is_some() => {
            Proof::AllowlistUnseen(handshake.unreadable.unwrap_or_default().to_owned()).into()
        }
        Some(None) if shows_chain => Seen::with(
            Proof::ChainOnly(format!(
                "the allowlist's generation header {} is absent: is the snippet included in this server?",
                wire::GENERATION_HEADER
            )),
            Caveat::AllowlistMissing,
        ),
        None if shows_chain => {
            Proof::ChainOnly("the target has no evidence of the allowlist's generation".to_owned()).into()
        }
        Some(None) | None => Proof::Unverifiable(
            "the target has no generation marker (marker = false), and no header shows the allowlist's generation"
                .to_owned(),
        )
        .into(),
    }
}

/// What a server shows that asks for no client certificate in its handshake.
fn without_request(header: Option<u64>, wanted: &Wanted, marker: bool, expected: Expected) -> Seen {
    match header {
        Some(shown) if shown != wanted.generation => of_generation("the allowlist", shown).into(),
        Some(_) if marker => Proof::Unverifiable(format!("{NOT_ASKED}; {ASKED_LATER}")).into(),
        Some(_) => Proof::AllowlistOnly(format!("{NOT_ASKED}; {ASKED_LATER}")).into(),
        None if expected.asks_every_client => {
            let why = format!("{NOT_ASKED}, and shows no generation of the allowlist");
            Seen::with(Proof::NotWired(why), Caveat::NotAsked)
        }
        None => Seen::with(Proof::Unverifiable(NOT_ASKED.to_owned()), Caveat::NotAsked),
    }
}

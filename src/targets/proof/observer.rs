//! The ways of observing a server once, and what one handshake says of the wanted generation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::targets::envoy::admin::Admin;
use crate::targets::haproxy;
use crate::targets::http::Asker;
use crate::targets::kind::Kind;
use crate::targets::proof::seen::{Seen, Wanted, not_ours, of_generation};
use crate::targets::proof::wire::{HANDSHAKE_LIMIT, Handshake, WireError, shake_hands};
use crate::targets::proof::{marker, self_report, wire};
use crate::targets::ways::{GenerationEvidence, ProofMethods, ProxyProtocol, WireProof};
use crate::trust::marker_name::MarkerName;
use crate::trust::turn::Proof;

/// Between two observations.
pub(super) const PAUSE: Duration = Duration::from_millis(30);

/// Between two observations of a server that never answers with the old generation after the new one.
const SHORT_PAUSE: Duration = Duration::from_millis(10);

/// Between two runs of a command.
const COMMAND_PAUSE: Duration = Duration::from_millis(100);

/// How long is spent at most to find out why nothing can be seen.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(1);

/// Why nothing is seen of a server without a CertificateRequest.
const NOT_ASKED: &str =
    "the server does not ask for a client certificate in its handshake, at this address and by this name";

/// Why the chain is not seen of one that does not ask, and shows our header.
const ASKED_LATER: &str = "its allowlist is of the wanted generation, but which authorities it accepts cannot be seen: it may \
     ask later, for some locations";

/// Why the chain is not seen of one that asks by other names, and shows our header.
const OTHER_NAMES: &str = "its allowlist is of the wanted generation, but the names that it advertises are not those of this \
     store's bundle (another CA file at this address, or a list of names of its own, as Apache's SSLCADNRequestFile), so which \
     authorities it accepts cannot be seen";

/// Why the chain is not seen of one that asks for anybody's certificate.
const NO_NAMES: &str = "the server asks for a client certificate and names no authority at all, so which ones it accepts \
     cannot be seen: so do HAProxy with no-ca-names and nginx with ssl_trusted_certificate alone";

/// A way of observing a server.
#[derive(Debug, Clone)]
pub(super) enum Observer {
    /// A handshake and one GET, at this address.
    Wire { address: SocketAddr, settings: WireProof, expected: Expected },
    /// What this command says.
    Command(Vec<String>),
    /// What is answered there.
    Http(Asker),
    /// What Envoy's admin endpoint shows.
    Envoy(Box<Admin>),
    /// What HAProxy's runtime socket shows.
    Haproxy(PathBuf),
}

impl Observer {
    pub(super) async fn observe(&self, wanted: &Wanted, limit: Duration) -> Seen {
        match self {
            Self::Wire { address, settings, expected } => match shake_hands(*address, settings, limit).await {
                Ok(handshake) => read_handshake(&handshake, wanted, settings, *expected),
                Err(error @ WireError::Unanswered) => Proof::Unverifiable(error.to_string()).into(),
                Err(error) => Proof::Unreachable(error.to_string()).into(),
            },
            Self::Command(argv) => self_report::by_command(argv, wanted, limit).await.into(),
            Self::Http(asker) => self_report::by_http(asker, wanted, limit).await.into(),
            Self::Envoy(admin) => admin.compare(wanted, limit).await,
            Self::Haproxy(socket) => haproxy::compare::compare(socket, wanted).await,
        }
    }

    /// How long one observation may take.
    pub(super) fn limit(&self) -> Duration {
        match self {
            // It may go a long way, as by ssh.
            Self::Command(_) => Duration::MAX,
            Self::Wire { .. } | Self::Http(_) | Self::Envoy(_) | Self::Haproxy(_) => HANDSHAKE_LIMIT,
        }
    }

    /// How long to wait between two observations.
    pub(super) fn pause(&self, settle: Duration) -> Duration {
        match self {
            // A process each.
            Self::Command(_) => COMMAND_PAUSE,
            _ if settle.is_zero() => SHORT_PAUSE,
            Self::Wire { .. } | Self::Http(_) | Self::Envoy(_) | Self::Haproxy(_) => PAUSE,
        }
    }

    /// Once nothing could be seen for long: why that is, if it can be found out.
    pub(super) async fn explain(&self, reason: String) -> Proof {
        if let Self::Wire { address, settings, .. } = self
            && settings.proxy_protocol.is_none()
        {
            let with_header = WireProof { proxy_protocol: Some(ProxyProtocol::V1), ..settings.clone() };
            if shake_hands(*address, &with_header, EXPLAINED_WITHIN).await.is_ok() {
                return Proof::Unverifiable(
                    "the server answers only clients that begin with the PROXY protocol: set proof.proxy_protocol to \"v1\" \
                     or \"v2\""
                        .to_owned(),
                );
            }
        }
        Proof::Unreachable(reason)
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
        return without_request(header.flatten(), wanted, settings.marker, expected).into();
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
        Some(Some(_)) if !shows_chain && settings.marker && !expected.advertises_its_own_names => {
            Proof::Unverifiable(OTHER_NAMES.to_owned()).into()
        }
        Some(Some(_)) if !shows_chain && settings.marker => not_ours().into(),
        _ if !shows_chain && settings.marker && names.is_empty() => Proof::Unverifiable(NO_NAMES.to_owned()).into(),
        _ if !shows_chain && settings.marker => not_ours().into(),
        Some(Some(_)) if shows_chain => Proof::Proven.into(),
        Some(Some(_)) => Proof::AllowlistOnly(
            "this target is configured without the generation marker, which shows the chain (marker = false)".to_owned(),
        )
        .into(),
        Some(None) if shows_chain => Seen::without_allowlist(format!(
            "the allowlist's generation header {} is absent: is the snippet included in this server?",
            wire::GENERATION_HEADER
        )),
        None if shows_chain => {
            Proof::ChainOnly("this target is configured without evidence of the allowlist's generation".to_owned()).into()
        }
        Some(None) | None => Proof::Unverifiable(
            "this target is configured without the generation marker (marker = false), and no header shows the allowlist's \
             generation either"
                .to_owned(),
        )
        .into(),
    }
}

/// What a server shows that asks for no client certificate in its handshake.
fn without_request(header: Option<u64>, wanted: &Wanted, marker: bool, expected: Expected) -> Proof {
    match header {
        Some(shown) if shown != wanted.generation => of_generation("the allowlist", shown),
        Some(_) if marker => Proof::Unverifiable(format!("{NOT_ASKED}; {ASKED_LATER}")),
        Some(_) => Proof::AllowlistOnly(format!("{NOT_ASKED}; {ASKED_LATER}")),
        None if expected.asks_every_client => {
            Proof::NotWired(format!("{NOT_ASKED}, and shows no generation of the allowlist"))
        }
        None => Proof::Unverifiable(NOT_ASKED.to_owned()),
    }
}

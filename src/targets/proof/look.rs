//! The ways of looking at a server once, and what one sighting says of the wanted generation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::targets::envoy::look::Admin;
use crate::targets::haproxy;
use crate::targets::http::Asker;
use crate::targets::proof::seen::{Part, Seen, Wanted};
use crate::targets::proof::wire::{HANDSHAKE_LIMIT, Handshake, WireError, look};
use crate::targets::proof::{marker, spoken, wire};
use crate::targets::ways::{GenerationEvidence, ProxyProtocol, WireProof};
use crate::trust::marker_name::MarkerName;

/// Between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(30);

/// Between two looks at a server that never answers with the old generation after the new one.
const SHORT_PAUSE: Duration = Duration::from_millis(10);

/// Between two runs of a command.
const COMMAND_PAUSE: Duration = Duration::from_millis(100);

/// How long is spent at most to find out why nothing is to be seen.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(1);

/// Why the chain is not seen of one that shows our header.
const ASKED_LATER: &str = "the server does not ask for a client certificate in its handshake, at this address and by this name; its \
     allowlist is of the wanted generation, but which authorities it accepts cannot be seen: it may ask later, for some locations";

/// Why the chain is not seen of one that asks for anybody's certificate.
const NO_NAMES: &str = "the server asks for a client certificate and names no authority at all, so which ones it accepts cannot be \
     seen: so do HAProxy with no-ca-names and nginx with ssl_trusted_certificate alone";

/// A way of looking at a server.
#[derive(Debug, Clone)]
pub(super) enum Looker {
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
    pub(super) async fn look(&self, wanted: &Wanted, limit: Duration) -> Seen {
        match self {
            Self::Wire { address, settings } => match look(*address, settings, limit).await {
                Ok(handshake) => judge(&handshake, wanted, settings),
                Err(error @ WireError::Unanswered) => Seen::Unverifiable(error.to_string()),
                Err(error) => Seen::Unreachable(error.to_string()),
            },
            Self::Command(argv) => spoken::by_command(argv, wanted, limit).await,
            Self::Http(asker) => spoken::by_http(asker, wanted, limit).await,
            Self::Envoy(admin) => admin.look(wanted, limit).await,
            Self::Haproxy(socket) => haproxy::look::look(socket, wanted).await,
        }
    }

    /// How long one look may take.
    pub(super) fn limit(&self) -> Duration {
        match self {
            // It may go a long way, as by ssh.
            Self::Command(_) => Duration::MAX,
            Self::Wire { .. } | Self::Http(_) | Self::Envoy(_) | Self::Haproxy(_) => HANDSHAKE_LIMIT,
        }
    }

    /// How long to wait between two looks.
    pub(super) fn pause(&self, settle: Duration) -> Duration {
        match self {
            // A process each.
            Self::Command(_) => COMMAND_PAUSE,
            _ if settle.is_zero() => SHORT_PAUSE,
            Self::Wire { .. } | Self::Http(_) | Self::Envoy(_) | Self::Haproxy(_) => PAUSE,
        }
    }

    /// Once nothing was to be seen for long: why that is, if it can be found out.
    pub(super) async fn explain(&self, reason: String) -> Seen {
        match self {
            Self::Wire { address, settings } if settings.proxy_protocol.is_none() => {
                let with_header = WireProof { proxy_protocol: Some(ProxyProtocol::V1), ..settings.clone() };
                match look(*address, &with_header, EXPLAINED_WITHIN).await {
                    Ok(_) => Seen::Unverifiable(
                        "the server answers only to those who begin with the PROXY protocol: set proof.proxy_protocol to \
                         \"v1\" or \"v2\""
                            .into(),
                    ),
                    Err(_) => Seen::Unreachable(reason),
                }
            }
            Self::Wire { .. } | Self::Command(_) | Self::Http(_) | Self::Envoy(_) | Self::Haproxy(_) => {
                Seen::Unreachable(reason)
            }
        }
    }
}

fn judge(handshake: &Handshake, wanted: &Wanted, settings: &WireProof) -> Seen {
    let header = match settings.generation {
        GenerationEvidence::None => None,
        GenerationEvidence::Header => {
            Some(handshake.generation_header.as_ref().and_then(|text| text.parse::<u64>().ok()))
        }
    };
    let Some(names) = &handshake.names else {
        return match header.flatten() {
            None => Seen::NotAsked,
            Some(shown) if settings.marker => {
                allowlist_alone(shown, wanted, Seen::Unverifiable(ASKED_LATER.to_owned()))
            }
            Some(shown) => allowlist_alone(shown, wanted, Seen::AllowlistOnly(ASKED_LATER.to_owned())),
        };
    };
    let of_store: Vec<MarkerName> =
        marker::find_in(names).into_iter().filter(|marker| marker.store_id == wanted.store_id).collect();
    // Two markers of one store: files of two generations were put together, and the older one acts too.
    if let Some(other) = of_store
        .iter()
        .find(|marker| marker.generation != wanted.generation || marker.digest_head != wanted.digest_head)
    {
        return Seen::Refuted { generation: other.generation, part: Part::Chain };
    }
    let shows_chain = !of_store.is_empty();
    match header {
        Some(Some(shown)) if !shows_chain && settings.marker => allowlist_alone(shown, wanted, Seen::OtherNames),
        _ if !shows_chain && settings.marker && names.is_empty() => Seen::Unverifiable(NO_NAMES.to_owned()),
        _ if !shows_chain && settings.marker => Seen::NotWired,
        Some(Some(generation)) if generation != wanted.generation => Seen::Refuted { generation, part: Part::Allowlist },
        Some(Some(_)) if shows_chain => Seen::Proven,
        Some(Some(_)) => Seen::AllowlistOnly(
            "this target is configured without the generation marker, which shows the chain (marker = false)".into(),
        ),
        Some(None) if shows_chain => Seen::Lacking(format!(
            "the allowlist's generation header {} is absent: is the snippet included in this server?",
            wire::GENERATION_HEADER
        )),
        None if shows_chain => Seen::ChainOnly(
            "this target is configured without evidence of the allowlist's generation".into(),
        ),
        Some(None) | None => Seen::Unverifiable(
            "this target is configured without the generation marker (marker = false), and no header shows the allowlist's generation either".into(),
        ),
    }
}

/// What an allowlist shows by itself: another generation, or the wanted one, which is then `alone`.
fn allowlist_alone(generation: u64, wanted: &Wanted, alone: Seen) -> Seen {
    if generation == wanted.generation { alone } else { Seen::Refuted { generation, part: Part::Allowlist } }
}

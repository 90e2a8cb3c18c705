//! What can go wrong between us and the vendor, and whether it may pass by itself.

use std::fmt;
use std::mem::discriminant;
use std::time::Duration;

use crate::genesys::secret::SecretError;
use crate::http_client::{ConnectionFailure, Phase, Transport};
use crate::trust::values::timestamp::span;

/// One request of ours that got no usable answer: to what, why, and how to name it to the vendor's support.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    pub(super) request: String,
    pub(super) failure: FetchFailure,
    pub(super) correlation: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) attempts: u32,
}

/// Whose fault it is, as far as the exit code goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// No answer: exit 4.
    Unreachable,
    /// An answer that says no: exit 4.
    RefusedUs,
    /// An answer that we do not take: exit 5.
    AnswerRefused,
    /// Nothing was asked, since the secret cannot be read: exit 3.
    Misconfigured,
}

/// The pages of one listing.
pub const PAGES: usize = 20;
/// The entities of one listing. The vendor has at most a handful.
pub const ENTITIES: usize = 1_000;

/// The codes of refusals: of the API as its documentation has them, and of OAuth (RFC 6749, 4.1.2.1 and 5.2).
pub const CODES: [&str; 30] = [
    "access_denied",
    "authentication.required",
    "bad.credentials",
    "bad.gateway",
    "bad.request",
    "conflict",
    "credentials.expired",
    "gateway.timeout",
    "internal.server.error",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_token",
    "method.not.allowed",
    "missing.all.permissions",
    "missing.any.permissions",
    "missing.permissions",
    "not.authorized",
    "not.found",
    "not.implemented",
    "request.timeout",
    "request.too.large",
    "server_error",
    "service.unavailable",
    "temporarily_unavailable",
    "too.many.requests",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
];

/// What the vendor said when it said no: its status, and of the body its code alone, where it is one that we know. No
/// free text: beside a credential's answer it may be the credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// `code` or `error`, of [`CODES`].
    pub code: Option<&'static str>,
    /// The body was an HTML page, so something else than the API may have answered.
    pub html: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        match self.code {
            Some(code) => write!(f, " ({code})"),
            None if self.html => f.write_str(" (with an HTML page: a proxy or captive portal?)"),
            None => Ok(()),
        }
    }
}

/// Why there is no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// The secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No whole answer came.
    #[error(transparent)]
    Transport(#[from] Transport),
    /// The vendor said no, or a proxy did.
    #[error("{}", .0.text(.1))]
    Refused(Refusal, Refused),
    /// What was answered cannot be used.
    #[error(transparent)]
    Answer(#[from] BadAnswer),
}

/// What a refusal means, as far as status and code say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The login service does not know this client id.
    UnknownClient(String),
    /// The login service knows this client id, but not the secret.
    WrongSecret(String),
    /// The API refused a fresh token too.
    TokenRefused,
    /// The client may not see the listing.
    Forbidden,
    /// The path leads nowhere.
    NotFound,
    /// The rate limit is reached.
    TooManyRequests,
    /// 407 as the answer itself.
    ProxyAuthentication,
    /// The vendor's own trouble.
    ServerTrouble,
    /// Any other refusal.
    Other,
}

impl Refusal {
    fn text(&self, said: &Refused) -> String {
        match self {
            Self::UnknownClient(id) => format!(
                "the login service does not know the OAuth client {id}: {said}; check client_id and that the region is \
                 the client's own"
            ),
            Self::WrongSecret(id) => format!(
                "the login service does not accept the secret of OAuth client {id}: {said}; check the client secret, \
                 which may have been renewed"
            ),
            Self::TokenRefused => format!(
                "the API refused a token that the login service had just given: {said}; check that api and login \
                 belong to the same region"
            ),
            Self::Forbidden => format!(
                "the API does not let this OAuth client see the certificates: {said}; a role of the client must hold \
                 the permission integrations:actionCertificate:view"
            ),
            Self::NotFound => {
                format!("there is nothing at this address: {said}; check api, login and path in the configuration")
            }
            Self::TooManyRequests => format!(
                "the vendor's rate limit is reached: {said}; the client may be shared with other programs, or interval \
                 be too short"
            ),
            Self::ProxyAuthentication => format!(
                "a proxy on the way wants other credentials: {said}; put them into the proxy's URL; if it also \
                 inspects TLS, its CA belongs into `ca_file`"
            ),
            Self::ServerTrouble => format!(
                "the vendor's service failed: {said}; it should pass by itself, else see the vendor's status page"
            ),
            Self::Other => format!("it was refused: {said}"),
        }
    }
}

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// A status that is neither an answer nor a refusal.
    #[error("it was answered with status {0}, which is neither a listing nor an error that the API knows")]
    UnexpectedStatus(u16),
    /// A redirect with this status to this host, which would carry the token along.
    #[error(
        "it was answered with a redirect ({0}) to {1}, which is never followed, since it would carry the credentials \
         along; check the host in the configuration"
    )]
    Redirect(u16, String),
    /// A page for people.
    #[error("it was answered with an HTML page instead of JSON: a proxy or captive portal?")]
    Html,
    /// Compressed, though we never ask for that.
    #[error("its answer is encoded ({0}), which was not asked for and is not unpacked")]
    ContentEncoding(String),
    /// More than this many bytes.
    #[error("its answer is too large: more than {0} bytes, of which reading stopped")]
    TooLarge(usize),
    /// The body broke off after this many bytes.
    #[error("its answer broke off after {0} bytes ({1})")]
    Truncated(usize, &'static str),
    /// Not JSON, or not of the right form. Never with text from the body: it may be a token.
    #[error("its answer is not the JSON that was expected: {0}")]
    NotJson(String),
    /// A listing without the field.
    #[error("its answer has no `entities`, so it is not a listing")]
    NoEntities,
    /// The unfiltered listing names no certificate.
    #[error("its unfiltered listing is empty; an empty answer never empties trust")]
    Empty,
    /// More entities than are taken.
    #[error("its listing has more than {ENTITIES} entities")]
    TooManyEntities,
    /// A page that was read before, by its number.
    #[error("its pages lead in a circle: page {0} was already read")]
    PagingLoop(usize),
    /// Pages without end.
    #[error("its listing has more than {PAGES} pages")]
    TooManyPages,
    /// The next page would be asked elsewhere.
    #[error(
        "its next page is said to be at {0}, which is not where the listing is; it was not asked, since it would carry \
         the token away"
    )]
    NextElsewhere(String),
    /// The login service said yes, but gave no token.
    #[error("the login service's answer holds no usable token: {0}")]
    NoToken(&'static str),
}

impl FetchError {
    /// The failure of `request` (method and URL, cleaned).
    #[must_use]
    pub fn new(request: String, failure: FetchFailure) -> Self {
        Self { request, failure, correlation: None, retry_after: None, attempts: 1 }
    }

    /// What went wrong.
    #[must_use]
    pub fn failure(&self) -> &FetchFailure {
        &self.failure
    }

    /// The vendor's id of the failed request, for a support case.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation.as_deref()
    }

    /// How long the vendor asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether asking again within seconds may help: transport, 408, 409, 429, and 5xx but 501.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.failure {
            FetchFailure::Transport(transport) => transport.is_transient(),
            FetchFailure::Refused(Refusal::TooManyRequests | Refusal::ServerTrouble, _) => true,
            FetchFailure::Refused(Refusal::Other, said) => matches!(said.status, 408 | 409),
            FetchFailure::Answer(BadAnswer::Truncated(..)) => true,
            _ => false,
        }
    }

    /// Whether it is only that the caller's deadline was reached.
    pub(super) fn is_deadline(&self) -> bool {
        matches!(self.failure, FetchFailure::Transport(Transport::TimedOut { phase: Phase::Deadline, .. }))
    }

    /// Whether another request failed in the same way.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        match (&self.failure, &other.failure) {
            (FetchFailure::Refused(one, _), FetchFailure::Refused(other, _)) => {
                discriminant(one) == discriminant(other)
            }
            (FetchFailure::Answer(one), FetchFailure::Answer(other)) => discriminant(one) == discriminant(other),
            (one, another) => discriminant(one) == discriminant(another) && self.class() == other.class(),
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        use ConnectionFailure::{NotHttp, ProxyAuthentication};
        match &self.failure {
            FetchFailure::Secret(_) => FailureClass::Misconfigured,
            FetchFailure::Transport(Transport::Failed { failure: ProxyAuthentication(_), .. })
            | FetchFailure::Refused(..) => FailureClass::RefusedUs,
            FetchFailure::Transport(Transport::Failed { failure: NotHttp, .. }) | FetchFailure::Answer(_) => {
                FailureClass::AnswerRefused
            }
            FetchFailure::Transport(_) => FailureClass::Unreachable,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.failure)?;
        if self.attempts > 1 {
            write!(f, " [{} attempts]", self.attempts)?;
        }
        if let Some(wait) = self.retry_after {
            write!(f, " [asked to wait {}]", span(wait))?;
        }
        if let Some(correlation) = &self.correlation {
            write!(f, " [correlation id {correlation}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for FetchError {}

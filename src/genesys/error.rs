//! What can go wrong between us and the vendor, and whether it may pass by itself.

use std::fmt;
use std::time::Duration;

use crate::genesys::secret::SecretError;
use crate::http_client::{Phase, Transport};
use crate::trust::timestamp::span;

/// One request of ours that got no usable answer: to what, why, and how to name it to the vendor's support.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    request: String,
    failure: FetchFailure,
    correlation: Option<String>,
    retry_after: Option<Duration>,
    attempts: u32,
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

/// What the vendor said when it said no: its status, and of the body only what its error format names, cleaned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// `code` or `error`.
    pub code: Option<String>,
    /// `message` or `error_description`.
    pub message: Option<String>,
    /// The body was an HTML page, so something else than the API may have answered.
    pub html: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, " ({code}: {message})"),
            (Some(said), None) | (None, Some(said)) => write!(f, " ({said})"),
            (None, None) if self.html => f.write_str(" (with an HTML page: a proxy or captive portal?)"),
            (None, None) => Ok(()),
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

    /// The login service does not know the client id.
    #[error(
        "the login service does not know the OAuth client {client_id}: {said}; check client_id and that the region is the client's own"
    )]
    UnknownClient {
        /// The id.
        client_id: String,
        /// Its words.
        said: Refused,
    },
    /// The login service knows the client id, but not this secret.
    #[error(
        "the login service does not accept the secret of OAuth client {client_id}: {said}; check the client secret, which may have been renewed"
    )]
    WrongSecret {
        /// The id.
        client_id: String,
        /// Its words.
        said: Refused,
    },
    /// The API refused a fresh token too.
    #[error(
        "the API refused a token that the login service had just given: {0}; check that api and login belong to the same region"
    )]
    TokenRefused(Refused),
    /// The client may not see the listing.
    #[error(
        "the API does not let this OAuth client see the certificates: {0}; a role of the client must hold the permission \
         integrations:actionCertificate:view"
    )]
    Forbidden(Refused),
    /// The path leads nowhere.
    #[error("there is nothing at this address: {0}; check api, login and path in the configuration")]
    NotFound(Refused),
    /// The rate limit.
    #[error(
        "the vendor's rate limit is reached: {0}; the client may be shared with other programs, or interval be too short"
    )]
    TooManyRequests(Refused),
    /// 407 as the answer itself.
    #[error(
        "a proxy on the way wants other credentials: {0}; put them into the proxy's URL; if it also inspects TLS, its CA belongs into `ca_file`"
    )]
    ProxyAuthentication(Refused),
    /// The vendor's own trouble.
    #[error("the vendor's service failed: {0}; it should pass by itself, else see the vendor's status page")]
    ServerTrouble(Refused),
    /// Any other no.
    #[error("it was refused: {0}")]
    Refused(Refused),

    /// A status that is neither an answer nor a refusal.
    #[error("it was answered with status {0}, which is no listing and no error that the API knows")]
    UnexpectedStatus(u16),
    /// A redirect, which would carry the token along.
    #[error(
        "it was answered with a redirect ({status}) to {target}, which is never followed, since it would carry the credentials along; check the host in the configuration"
    )]
    Redirect {
        /// Which.
        status: u16,
        /// The host it names.
        target: String,
    },
    /// A page for people.
    #[error("it was answered with an HTML page instead of JSON: a proxy or captive portal?")]
    Html,
    /// Compressed, though we never ask for that.
    #[error("its answer is encoded ({0}), which was not asked for and is not unpacked")]
    ContentEncoding(String),
    /// More than we read.
    #[error("its answer is too large: more than {limit} bytes, of which reading stopped")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The body broke off.
    #[error("its answer broke off after {received} bytes ({reason})")]
    Truncated {
        /// So many came.
        received: usize,
        /// What the connection said.
        reason: String,
    },
    /// No JSON, or not of the right form. Never with words from the body: it may be a token.
    #[error("its answer is not the JSON that was expected: {0}")]
    NotJson(String),
    /// A listing without the field.
    #[error("its answer has no `entities`, so it is no listing")]
    NoEntities,
    /// The unfiltered listing names nobody.
    #[error("its unfiltered listing is empty; an empty answer never empties trust")]
    Empty,
    /// More than we take.
    #[error("its listing has more than {limit} entities")]
    TooManyEntities {
        /// The limit.
        limit: usize,
    },
    /// A page again.
    #[error("its pages lead in a circle: page {page} was already read")]
    PagingLoop {
        /// Which one.
        page: usize,
    },
    /// Pages without end.
    #[error("its listing has more than {limit} pages")]
    TooManyPages {
        /// The limit.
        limit: usize,
    },
    /// The next page would be asked elsewhere.
    #[error(
        "its next page is said to be at {target}, which is not where the listing is; it was not asked, since it would carry the token away"
    )]
    NextElsewhere {
        /// Where.
        target: String,
    },
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

    /// With the vendor's id for it.
    #[must_use]
    pub fn with_correlation(mut self, correlation: Option<String>) -> Self {
        self.correlation = correlation;
        self
    }

    /// With the wait that the vendor asked for.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    pub(super) fn after_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
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
            FetchFailure::TooManyRequests(_) | FetchFailure::ServerTrouble(_) | FetchFailure::Truncated { .. } => true,
            FetchFailure::Refused(said) => matches!(said.status, 408 | 409),
            _ => false,
        }
    }

    /// Whether it is only that the caller's deadline was reached.
    pub(super) fn is_deadline(&self) -> bool {
        matches!(self.failure, FetchFailure::Transport(Transport::TimedOut { phase: Phase::Deadline, .. }))
    }

    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        use FetchFailure as Failure;
        match &self.failure {
            Failure::Secret(_) => FailureClass::Misconfigured,
            Failure::Transport(Transport::NotHttp { .. }) => FailureClass::AnswerRefused,
            Failure::Transport(Transport::ProxyAuthentication { .. }) => FailureClass::RefusedUs,
            Failure::Transport(_) => FailureClass::Unreachable,
            Failure::UnknownClient { .. }
            | Failure::WrongSecret { .. }
            | Failure::TokenRefused(_)
            | Failure::Forbidden(_)
            | Failure::NotFound(_)
            | Failure::TooManyRequests(_)
            | Failure::ProxyAuthentication(_)
            | Failure::ServerTrouble(_)
            | Failure::Refused(_) => FailureClass::RefusedUs,
            Failure::UnexpectedStatus(_)
            | Failure::Redirect { .. }
            | Failure::Html
            | Failure::ContentEncoding(_)
            | Failure::TooLarge { .. }
            | Failure::Truncated { .. }
            | Failure::NotJson(_)
            | Failure::NoEntities
            | Failure::Empty
            | Failure::TooManyEntities { .. }
            | Failure::PagingLoop { .. }
            | Failure::TooManyPages { .. }
            | Failure::NextElsewhere { .. }
            | Failure::NoToken(_) => FailureClass::AnswerRefused,
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

//! The ways in which the simulated vendor can be told to fail, each with a stable name.

use std::fmt;
use std::str::FromStr;

/// Declares the failures once: variant, name and what it does, which is its documentation and its line in the control endpoint's help.
macro_rules! failures {
    ($(#[doc = $meaning:literal] $variant:ident = $name:literal,)+) => {
        /// A way to fail. Those of a kind combine: any number of odd contents, one odd transport (the first that was asked for).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Failure { $(#[doc = $meaning] $variant,)+ }

        impl Failure {
            /// Every failure.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name on the wire and on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it does, in one line.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

failures! {
    /// Answers 400 `bad.request`.
    BadRequest = "bad-request",
    /// Answers 401 `bad.credentials`.
    Unauthorized = "unauthorized",
    /// Answers 401 `credentials.expired`.
    CredentialsExpired = "credentials-expired",
    /// Answers 403 `missing.any.permissions`.
    Forbidden = "forbidden",
    /// Answers 404 `not.found`.
    NotFound = "not-found",
    /// Answers 408 `request.timeout`.
    RequestTimeout = "request-timeout",
    /// Answers 409 `conflict`.
    Conflict = "conflict",
    /// Answers 429 `too.many.requests`, Retry-After in seconds.
    TooManyRequests = "too-many-requests",
    /// Answers 429 `too.many.requests`, Retry-After as an HTTP date.
    TooManyRequestsDate = "too-many-requests-date",
    /// Answers 500 `internal.server.error`.
    InternalError = "internal-error",
    /// Answers 502 `bad.gateway`.
    BadGateway = "bad-gateway",
    /// Answers 503 `service.unavailable`.
    ServiceUnavailable = "service-unavailable",
    /// Answers 504 `gateway.timeout`.
    GatewayTimeout = "gateway-timeout",
    /// Accepts the request and says nothing for a long time.
    SlowHeaders = "slow-headers",
    /// Sends the headers at once and the body byte by byte.
    SlowBody = "slow-body",
    /// Breaks the connection in the middle of a chunked body.
    TruncatedBody = "truncated-body",
    /// Promises more bytes in Content-Length than it sends before it closes.
    WrongContentLength = "wrong-content-length",
    /// Sends a body without end.
    EndlessBody = "endless-body",
    /// Sends a gzip body, unasked, that inflates to more than a gigabyte.
    GzipBomb = "gzip-bomb",
    /// Answers 200 with a page of HTML.
    Html = "html",
    /// Answers 200 with JSON that breaks off.
    InvalidJson = "invalid-json",
    /// Answers 302 to another host.
    Redirect = "redirect",
    /// Resets the connection instead of answering.
    ConnectionReset = "connection-reset",
    /// Every page's nextUri is that page.
    PagingLoop = "paging-loop",
    /// Every page has a next page, for ever.
    EndlessPaging = "endless-paging",
    /// nextUri names another host.
    NextUriOtherHost = "next-uri-other-host",
    /// nextUri is http instead of https.
    NextUriOtherScheme = "next-uri-other-scheme",
    /// Lists an empty array of entities.
    EmptyEntities = "empty-entities",
    /// Leaves the array of entities out.
    MissingEntities = "missing-entities",
    /// Lists no Upcoming although it is due.
    EmptyUpcoming = "empty-upcoming",
    /// Lists an Upcoming with a name that is not the region's.
    UpcomingWrongName = "upcoming-wrong-name",
    /// Lists a stranger's leaf of the same intermediate as Upcoming.
    UpcomingStranger = "upcoming-stranger",
    /// Lists an Upcoming that has expired.
    UpcomingExpired = "upcoming-expired",
    /// Lists an Upcoming that is valid only from the day after tomorrow.
    UpcomingNotYetValid = "upcoming-not-yet-valid",
    /// Lists an Upcoming with CA:TRUE.
    UpcomingCa = "upcoming-ca",
    /// Lists an Upcoming of a CA that nobody configured.
    UpcomingOtherCa = "upcoming-other-ca",
    /// Lists a Current that has expired.
    CurrentExpired = "current-expired",
    /// Lists no Current of DigiCert.
    CurrentAbsent = "current-absent",
    /// Lists a Current with a name that is not the region's.
    CurrentWrongName = "current-wrong-name",
    /// Lists a Current of a CA that nobody configured.
    CurrentOtherCa = "current-other-ca",
    /// Every other answer (the first, the third...) lacks the Upcoming.
    FlappingUpcoming = "flapping-upcoming",
    /// Every other answer (the first, the third...) lacks the Current of DigiCert.
    FlappingCurrent = "flapping-current",
    /// The Current's base64 is cut short by "...".
    TruncatedPem = "truncated-pem",
    /// The Current's string holds a private key too.
    PrivateKeyInPem = "private-key-in-pem",
    /// The Current's string holds two leaves.
    TwoLeaves = "two-leaves",
    /// Lists one more leaf, with an unknown status.
    UnknownStatus = "unknown-status",
    /// Lists one more leaf, with an unknown type.
    UnknownType = "unknown-type",
    /// Lists one more leaf, of an unknown signing authority.
    UnknownAuthority = "unknown-authority",
    /// Lists one more leaf, without a signing authority.
    MissingAuthority = "missing-authority",
    /// Writes the authorities in lower case: harmless, and to be taken as if nothing were.
    LowerCaseAuthority = "lower-case-authority",
    /// Lists a Genesys leaf of another root.
    GenesysOtherRoot = "genesys-other-root",
}

impl Failure {
    /// Whether it changes what the listing says, rather than how an answer comes.
    #[must_use]
    pub fn is_content(self) -> bool {
        self >= Self::PagingLoop
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no failure; the failures are: {known}", known = Failure::ALL.iter().map(|one| one.name()).collect::<Vec<_>>().join(", "))]
pub struct UnknownFailure(String);

impl FromStr for Failure {
    type Err = UnknownFailure;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|failure| failure.name() == text)
            .ok_or_else(|| UnknownFailure(text.chars().take(60).collect()))
    }
}

/// Which of the vendor's endpoints a failure strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// `POST /oauth/token`.
    Token,
    /// `GET /api/v2/integrations/actions/certificates`.
    Listing,
    /// Either.
    Both,
}

impl Endpoint {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Listing => "listing",
            Self::Both => "both",
        }
    }

    /// Whether what strikes `self` strikes a request to `asked`.
    #[must_use]
    pub fn covers(self, asked: Self) -> bool {
        self == Self::Both || self == asked
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no endpoint; the endpoints are: token, listing, both")]
pub struct UnknownEndpoint(String);

impl FromStr for Endpoint {
    type Err = UnknownEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Token, Self::Listing, Self::Both]
            .into_iter()
            .find(|endpoint| endpoint.name() == text)
            .ok_or_else(|| UnknownEndpoint(text.chars().take(60).collect()))
    }
}

/// How the listing answers when no status is asked for; the vendor does not document it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// An unfiltered listing shows Upcoming too.
    #[default]
    ListsAll,
    /// An unfiltered listing shows Current alone; Upcoming comes only by `status=Upcoming`.
    CurrentOnlyUnlessAsked,
}

impl Mode {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ListsAll => "lists-all",
            Self::CurrentOnlyUnlessAsked => "current-only-unless-asked",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mode; the modes are: lists-all, current-only-unless-asked")]
pub struct UnknownMode(String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::ListsAll, Self::CurrentOnlyUnlessAsked]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| UnknownMode(text.chars().take(60).collect()))
    }
}

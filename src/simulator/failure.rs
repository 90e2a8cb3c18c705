//! How the simulated vendor can fail on command, and how its listing behaves.

named! {
    /// A way to fail. Those of a kind combine: any number of odd contents, one odd transport (the first that was asked
    /// for).
    pub enum Failure("failure") {
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
        /// Accepts the request and does not answer for a long time.
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
        /// `total` is one more than what is listed.
        TotalAboveListed = "total-above-listed",
        /// nextUri leads to a second page that is empty.
        EmptySecondPage = "empty-second-page",
        /// nextUri leads to a second page that lists the first one's entities again.
        RepeatedPage = "repeated-page",
        /// `pageCount` is a thousand million, without a nextUri.
        AbsurdPageCount = "absurd-page-count",
        /// `pageNumber` of the first page is 3.
        PageNumberOutOfOrder = "page-number-out-of-order",
        /// The answer's Date is a day old, as of a cache on the way.
        DayOldDate = "day-old-date",
        /// Lists a hundred more entities, each of an authority, type or status of its own.
        HundredOddEntities = "hundred-odd-entities",
        /// Lists a hundred more leaves as Current that no configuration accepts.
        HundredRefusedLeaves = "hundred-refused-leaves",
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
        /// Lists an Upcoming of a CA that no configuration names.
        UpcomingOtherCa = "upcoming-other-ca",
        /// Lists a Current that has expired.
        CurrentExpired = "current-expired",
        /// Lists no Current of DigiCert.
        CurrentAbsent = "current-absent",
        /// Lists a Current with a name that is not the region's.
        CurrentWrongName = "current-wrong-name",
        /// Lists a Current of a CA that no configuration names.
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
        /// Writes the authorities in lower case, which is harmless.
        LowerCaseAuthority = "lower-case-authority",
        /// Lists a Genesys leaf of another root.
        GenesysOtherRoot = "genesys-other-root",
    }
}

impl Failure {
    /// Whether it changes what the listing says, rather than how an answer comes.
    #[must_use]
    pub fn is_content(self) -> bool {
        self >= Self::PagingLoop
    }
}

named! {
    /// Which of the vendor's endpoints a failure strikes.
    pub enum Endpoint("endpoint") {
        /// `POST /oauth/token`.
        Token = "token",
        /// `GET /api/v2/integrations/actions/certificates`.
        Listing = "listing",
        /// Both of them.
        Both = "both",
    }
}

impl Endpoint {
    /// Whether what strikes `self` strikes a request to `asked`.
    #[must_use]
    pub fn covers(self, asked: Self) -> bool {
        self == Self::Both || self == asked
    }
}

named! {
    /// How the listing answers when no status is asked for; the vendor does not document it.
    #[derive(Default)]
    pub enum Mode("mode") {
        /// An unfiltered listing shows Upcoming too.
        #[default]
        ListsAll = "lists-all",
        /// An unfiltered listing shows Current alone; Upcoming comes only by `status=Upcoming`.
        CurrentOnlyUnlessAsked = "current-only-unless-asked",
    }
}

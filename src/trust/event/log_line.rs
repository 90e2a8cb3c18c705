//! Lines of the log that report no finding: what a process does, and what failed of a command.

use tracing::Level;

macro_rules! lines {
    ($($line:ident = ($name:literal, $level:ident)),+ $(,)?) => {
        /// A line of the log that reports no finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the name says what it is")]
        pub enum LogLine {
            $($line),+
        }

        impl LogLine {
            /// Every line.
            pub const ALL: &'static [Self] = &[$(Self::$line),+];

            /// Its stable name, the field `event`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$line => $name),+
                }
            }

            /// Its level. Lines below `INFO` are written with `-v`.
            #[must_use]
            pub const fn level(self) -> Level {
                match self {
                    $(Self::$line => Level::$level),+
                }
            }
        }
    };
}

lines!(
    // --- the daemon ---
    Started = ("started", INFO),
    Listening = ("listening", INFO),
    ListenLost = ("listen_lost", ERROR),
    PollNow = ("poll_now", INFO),
    ConfigurationReloaded = ("configuration_reloaded", INFO),
    ConfigurationRestored = ("configuration_restored", INFO),
    ConfigurationRefused = ("configuration_refused", ERROR),
    WatchUnavailable = ("watch_unavailable", WARN),
    NoProgress = ("no_progress", ERROR),
    ServiceManagerUnreachable = ("service_manager_unreachable", DEBUG),
    HeartbeatNotGiven = ("heartbeat_not_given", WARN),
    Ending = ("ending", INFO),
    CutOff = ("cut_off", WARN),
    Ended = ("ended", INFO),
    // --- a cycle ---
    Published = ("published", INFO),
    Unchanged = ("unchanged", INFO),
    // The daemon, which comes here every few minutes.
    UnchangedBetweenPolls = ("unchanged", DEBUG),
    Rehearsed = ("rehearsed", INFO),
    CycleFailed = ("cycle_failed", ERROR),
    ListsUnavailable = ("lists_unavailable", ERROR),
    CommandEnded = ("command_ended", DEBUG),
    SeedNotNeeded = ("seed_not_needed", INFO),
    SnippetReplaces = ("snippet_replaces", WARN),
    // --- the network ---
    ListingsRead = ("listings_read", DEBUG),
    TokenTaken = ("token_taken", DEBUG),
    TokenRefused = ("token_refused", INFO),
    VendorRequestFailed = ("vendor_request_failed", DEBUG),
    VendorRequestRetried = ("vendor_request_retried", INFO),
    CrlRequestRetried = ("crl_request_retried", INFO),
    // --- the privileged helper ---
    PrivilegedPathUnfit = ("privileged_path_unfit", WARN),
    RequestStuck = ("request_stuck", ERROR),
    RootsWord = ("roots_word", INFO),
    RootsDenialNotInForce = ("roots_denial_not_in_force", ERROR),
    ApplyFailed = ("apply_failed", ERROR),
    // --- commands ---
    Failed = ("failed", ERROR),
    StatusUnknown = ("status_unknown", ERROR),
    AlarmsUnknown = ("alarms_unknown", ERROR),
    LeafRefused = ("leaf_refused", ERROR),
    LeafDenied = ("leaf_denied", ERROR),
    GenerationDamaged = ("generation_damaged", WARN),
    EvidenceDamaged = ("evidence_damaged", WARN),
    OutputCut = ("output_cut", WARN),
    JournaldUnreachable = ("journald_unreachable", WARN),
);

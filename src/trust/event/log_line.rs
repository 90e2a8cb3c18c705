//! Lines of the log that report no finding: what a process does, and what failed of a command.

use std::fmt;

/// The level of a line. Lines below `Info` are written with `-v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What a command came to is not what was asked for.
    Error,
    /// Someone should look.
    Warn,
    /// What happens.
    Info,
    /// For those who look closer.
    Debug,
}

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

            /// Its level.
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
    Started = ("started", Info),
    Listening = ("listening", Info),
    ListenLost = ("listen_lost", Error),
    PollNow = ("poll_now", Info),
    ConfigurationReloaded = ("configuration_reloaded", Info),
    ConfigurationRestored = ("configuration_restored", Info),
    ConfigurationRefused = ("configuration_refused", Error),
    WatchUnavailable = ("watch_unavailable", Warn),
    NoProgress = ("no_progress", Error),
    ServiceManagerUnreachable = ("service_manager_unreachable", Debug),
    Ending = ("ending", Info),
    CutOff = ("cut_off", Warn),
    Ended = ("ended", Info),
    // --- a cycle ---
    Published = ("published", Info),
    Unchanged = ("unchanged", Info),
    // The daemon, which comes here every few minutes.
    UnchangedBetweenPolls = ("unchanged", Debug),
    Rehearsed = ("rehearsed", Info),
    CycleFailed = ("cycle_failed", Error),
    ListsUnavailable = ("lists_unavailable", Error),
    CommandEnded = ("command_ended", Debug),
    SeedNotNeeded = ("seed_not_needed", Info),
    // --- the network ---
    ListingsRead = ("listings_read", Debug),
    TokenTaken = ("token_taken", Debug),
    TokenRefused = ("token_refused", Info),
    VendorRequestFailed = ("vendor_request_failed", Debug),
    VendorRequestRetried = ("vendor_request_retried", Info),
    CrlRequestRetried = ("crl_request_retried", Info),
    // --- root's half ---
    PrivilegedPathUnfit = ("privileged_path_unfit", Warn),
    RequestStuck = ("request_stuck", Error),
    ApplyFailed = ("apply_failed", Error),
    // --- commands ---
    Failed = ("failed", Error),
    StatusUnknown = ("status_unknown", Error),
    AlarmsUnknown = ("alarms_unknown", Error),
    LeafRefused = ("leaf_refused", Error),
    LeafDenied = ("leaf_denied", Error),
    GenerationDamaged = ("generation_damaged", Warn),
    EvidenceDamaged = ("evidence_damaged", Warn),
    OutputCut = ("output_cut", Warn),
    JournaldUnreachable = ("journald_unreachable", Warn),
);

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

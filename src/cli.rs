//! The command line as people type it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::simulator::failure::{Failure, Mode};
use crate::simulator::pem_form::PemForm;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::Authority;
use crate::trust::values::timestamp::Timestamp;

/// Keeps servers trusting Genesys Cloud's current and upcoming client certificate, and proves that they do.
#[derive(Debug, Parser)]
#[command(name = "trustsync", version, about, max_term_width = 100)]
pub struct Cli {
    /// What every command knows.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command knows.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration's file.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/trustsync/config.toml")]
    pub config: PathBuf,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// How the log is written to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Say more (twice: everything).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// How long to wait for another writer.
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "30s")]
    pub lock_timeout: Duration,
    /// The store, where several are configured.
    #[arg(long, global = true, value_name = "NAME")]
    pub store: Option<String>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text for people.
    Text,
    /// For programs: one JSON document.
    Json,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line an event.
    Text,
    /// A JSON object an event.
    Json,
    /// systemd's journal, with its fields.
    Journald,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the vendor, publish what verifies, reload the servers, prove it; once
    Sync(Sync),
    /// Do the same for years: poll, publish, reload and prove by a schedule, until a signal ends it
    Run,
    /// What is trusted, a timeline of it, sources, targets, alarms (exit 0 ok, 1 warning, 2 critical, 3 unknown)
    Status {
        /// Only whether the daemon lives and a generation is in place: one line, exit 0 or 1; for a container's probes
        #[arg(long)]
        probe: bool,
    },
    /// Take a target's turn again now: check, reload, prove
    Reload {
        /// The target's name in the configuration.
        target: String,
    },
    /// The lines that a target's server needs in its configuration, with their real paths; nothing is changed or told
    Snippet {
        /// The target's name in the configuration.
        target: String,
    },
    /// The privileged part of a target's turn, as root: adopt the daemon's store, check, switch, reload (for the path
    /// unit)
    Apply {
        /// The target's name in the configuration.
        target: String,
        /// Let go first of what the daemon has said: for a store that was made anew on purpose
        #[arg(long)]
        reset: bool,
    },
    /// Check a leaf offline by the cycle's own policy, anchors and identity (exit 0 accepted, 5 refused, 11 identity not
    /// judged)
    Verify(Verify),
    /// What is in a file: certificates, CRLs and keys in PEM, DER, PKCS#12 or zip (exit 5 if nothing can be read)
    Inspect(Inspect),
    /// The generations that are kept
    History,
    /// What changed from a generation to the current one
    Diff {
        /// The older generation [default: the one before the current].
        generation: Option<u64>,
        /// Compare with the certificates of this file instead.
        #[arg(long, value_name = "FILE", conflicts_with = "generation")]
        with: Option<PathBuf>,
    },
    /// Publish an older generation's set anew, and hold it
    Rollback(Rollback),
    /// Freeze the trust set: nothing enters or leaves but by revocation and distrust
    Hold {
        /// For how long.
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration, default_value = "24h")]
        length: Duration,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// End a hold
    Release,
    /// Admit a certificate that the vendor does not list, until a given end (exit 11: policy refuses it)
    Trust(Trust),
    /// Deny a certificate, at once and until undistrust
    Distrust(Distrust),
    /// Take a distrust back; a CA's revocation stays
    Undistrust {
        /// Its SHA-256, with or without colons
        fingerprint: Fingerprint,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// Say that a target's server serves the wanted generation, where no proof can show it
    Confirm {
        /// The target's name in the configuration.
        target: String,
    },
    /// The alarms (exit as status), or end those that were seen
    Alarms {
        /// What to do with them [default: list them].
        #[command(subcommand)]
        command: Option<Alarms>,
    },
    /// The record of each generation for an auditor: observed, committed, reloaded, proven
    Evidence {
        /// This generation alone.
        generation: Option<u64>,
    },
    /// Let in what an issuer has signed that is new to its slot (verify.changed_issuer = "confirm")
    AcceptIssuer {
        /// The SHA-256 of the issuer's certificate, with or without colons.
        fingerprint: Fingerprint,
        /// Accept one that nothing waits for
        #[arg(long)]
        unknown: bool,
    },
    /// Check or show the configuration
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: Config,
    },
    /// The regions of Genesys Cloud that are known
    Regions,
    /// Serve a Genesys-like API with its own PKI, for tests and drills
    Simulate(Simulate),
    /// Run the main job on embedded parts: simulator, a whole rotation, a TLS server; no account needed
    Demo,
}

/// `trustsync sync`.
#[derive(Debug, Clone, Args)]
pub struct Sync {
    /// Print what would change; write nothing, reload no server
    #[arg(long)]
    pub dry_run: bool,
    /// What an empty store adopts before it polls: a store, or a copy of one generation's folder [default:
    /// store.NAME.seed]
    #[arg(long, value_name = "FOLDER")]
    pub seed: Option<PathBuf>,
    /// How long asking the vendor may take in all, retries included
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "60s")]
    pub deadline: Duration,
    /// Exit with 10 instead of 0 if anything changed, or would
    #[arg(long)]
    pub detailed_exit_code: bool,
}

/// `trustsync rollback`.
#[derive(Debug, Clone, Args)]
pub struct Rollback {
    /// The generation [default: the newest one with another set].
    pub generation: Option<u64>,
    /// How long the hold lasts that keeps the next cycle from undoing it.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration, default_value = "24h")]
    pub hold: Duration,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Even if it lacks what the vendor lists now: calls with that fail at once
    #[arg(long)]
    pub force: bool,
}

/// `trustsync trust`.
#[derive(Debug, Clone, Args)]
pub struct Trust {
    /// The leaf, PEM or DER; its chain may stand in the same file
    pub file: PathBuf,
    /// When it leaves again unless the vendor lists it by then: RFC 3339 or a time from now such as 14d; at most a year
    #[arg(long, value_name = "T", value_parser = until)]
    pub until: Until,
    /// The source whose leaf it is, where several are configured
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Waive the identity: admit it whatever names it carries
    #[arg(long)]
    pub any_identity: bool,
    /// Waive the extended key usage, where it has none at all
    #[arg(long)]
    pub no_usage: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not ask: for scripts
    #[arg(long)]
    pub yes: bool,
}

/// `trustsync distrust`.
#[derive(Debug, Clone, Args)]
pub struct Distrust {
    /// Its SHA-256, with or without colons
    pub fingerprint: Fingerprint,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Deny one that no generation here knows
    #[arg(long)]
    pub unknown: bool,
    /// Do not ask: for scripts
    #[arg(long)]
    pub yes: bool,
}

impl Command {
    /// What is to be denied is known, though no generation of a store has it.
    pub fn deny_known(&mut self) {
        if let Self::Distrust(arguments) = self {
            arguments.unknown = true;
        }
    }
}

/// When a certificate that is trusted by an override leaves again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// At this moment.
    At(Timestamp),
    /// After this time.
    After(Duration),
}

/// A reason that says something.
fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty: say why, for the record".to_owned()) } else { Ok(text.to_owned()) }
}

fn until(text: &str) -> Result<Until, String> {
    let moment = text.parse().map(Until::At).ok();
    moment
        .or_else(|| humantime::parse_duration(text).map(Until::After).ok())
        .ok_or_else(|| "neither RFC 3339, such as 2026-12-31T00:00:00Z, nor a time from now, such as 14d".to_owned())
}

/// `trustsync verify`.
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// The leaf, PEM or DER; its chain may stand in the same file
    pub leaf: Option<PathBuf>,
    /// Roots to accept chains to, PEM, DER or zip, instead of the source's, or the built-in ones (repeatable)
    #[arg(long = "anchor", value_name = "FILE")]
    pub anchors: Vec<PathBuf>,
    /// More certificates for the path (repeatable)
    #[arg(long = "intermediate", value_name = "FILE")]
    pub intermediates: Vec<PathBuf>,
    /// Revocation lists to ask about the path, PEM or DER (repeatable); one that cannot answer refuses the leaf
    #[arg(long = "crl", value_name = "FILE")]
    pub crls: Vec<PathBuf>,
    /// Check as of this moment [default: now]
    #[arg(long, value_name = "RFC3339")]
    pub at: Option<Timestamp>,
    /// A name, of which the leaf must have one (repeatable) [default: the identity of the source; without one exit 11]
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// Judge by the other rules alone, whatever names it carries
    #[arg(long, conflicts_with = "names")]
    pub any_identity: bool,
    /// The source whose leaf it is, where several are configured
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// The authority whose leaf it is [default: those of the source, else DigiCert]
    #[arg(long, value_name = "AUTHORITY", value_parser = authority)]
    pub authority: Option<Authority>,
    /// List the anchors in force, with fingerprint and expiry
    #[arg(long)]
    pub list_anchors: bool,
}

/// `trustsync inspect`.
#[derive(Debug, Clone, Args)]
pub struct Inspect {
    /// The files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The file with the password of PKCS#12 [default: none and "changeit" are tried]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

fn authority(text: &str) -> Result<Authority, String> {
    Authority::named(text).ok_or_else(|| "known are DigiCert and Genesys".to_owned())
}

/// `trustsync simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Where the API listens (HTTPS); port 0 takes any.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where the control endpoint listens (plain HTTP, loopback only); port 0 takes any.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub control: SocketAddr,
    /// The folder for its certificates, keys and a ready trustsync.toml; new, empty, or of an earlier run.
    #[arg(long, value_name = "DIR", default_value = "trustsync-simulator")]
    pub folder: PathBuf,
    /// The AWS name of the region.
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    /// The name in the vendor's client certificate.
    #[arg(long, value_name = "NAME", default_value = "dataactions.prod.us-east-1.mypurecloud.com")]
    pub certificate_name: String,
    /// The life of a DigiCert leaf.
    #[arg(long, value_name = "DAYS", default_value_t = 397, value_parser = clap::value_parser!(u32).range(2..=3_650))]
    pub lifetime: u32,
    /// How many days the first Current has left.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(0..=3_650))]
    pub days_left: Option<u32>,
    /// What an unfiltered listing shows: lists-all, current-only-unless-asked.
    #[arg(long, value_name = "MODE", default_value_t)]
    pub mode: Mode,
    /// How certificates are written: vendor, canonical, crlf, long-lines, root-first.
    #[arg(long, value_name = "FORM", default_value_t)]
    pub pem: PemForm,
    /// List no Genesys leaf.
    #[arg(long)]
    pub no_genesys: bool,
    /// Promote no Upcoming by the clock, only by POST /rotate.
    #[arg(long)]
    pub rotate_by_hand: bool,
    /// Fail in this way on the listing from the start (repeatable); GET / of the control endpoint lists them.
    #[arg(long, value_name = "FAILURE")]
    pub fail: Vec<Failure>,
    /// Another name for the API's HTTPS certificate (repeatable).
    #[arg(long, value_name = "NAME")]
    pub tls_name: Vec<String>,
}

/// `trustsync alarms`.
#[derive(Debug, Clone, Subcommand)]
pub enum Alarms {
    /// End alarms on events that are over, and were seen
    Ack {
        /// Their ids, as listed
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<String>,
        /// Every one that is over
        #[arg(long)]
        all: bool,
    },
}

/// `trustsync config`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Config {
    /// Check it: every problem at once, exit 3 if there is one
    Check {
        /// Ask each endpoint too (it is only read): what it lists, each verdict, the line that pins its identity; exits
        /// as sync
        #[arg(long)]
        probe: bool,
    },
    /// Every value in force and where it was set; secrets are not shown
    Show,
}

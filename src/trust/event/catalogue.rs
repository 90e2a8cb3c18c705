//! The table. A row: the name, the severities, the type of the subject, how the alarm ends; then what it means for
//! trust, and what to do.

use super::{End, Facts, Failure};
use crate::trust::event::severity::Severity;
use crate::trust::event::subject::SubjectType;

/// The event and its facts in one place, so that there is none without the other.
macro_rules! catalogue {
    ($($event:ident = $facts:expr),+ $(,)?) => {
        /// Everything that this program reports. Its facts say what each is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the row says what it is")]
        pub enum Event {
            $($event),+
        }

        impl Event {
            /// Every event, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$event),+];

            /// What is known of it.
            #[must_use]
            pub const fn facts(self) -> &'static Facts {
                match self {
                    $(Self::$event => const { &$facts.complete() }),+
                }
            }
        }
    };
}

const CRITICAL: &[Severity] = &[Severity::Critical];
const WARNING: &[Severity] = &[Severity::Warning];
const NOTE: &[Severity] = &[Severity::Note];
const CRITICAL_OR_WARNING: &[Severity] = &[Severity::Critical, Severity::Warning];
const CRITICAL_OR_NOTE: &[Severity] = &[Severity::Critical, Severity::Note];
const WARNING_OR_NOTE: &[Severity] = &[Severity::Warning, Severity::Note];

const SOURCE: &[SubjectType] = &[SubjectType::Source];
const SLOT: &[SubjectType] = &[SubjectType::Slot];
const SLOT_OR_STORE: &[SubjectType] = &[SubjectType::Slot, SubjectType::Store];
const STORE: &[SubjectType] = &[SubjectType::Store];
const STORE_OR_TARGET: &[SubjectType] = &[SubjectType::Store, SubjectType::Target];
const TARGET: &[SubjectType] = &[SubjectType::Target];
const LIST: &[SubjectType] = &[SubjectType::RevocationList];
const LIST_OR_STORE: &[SubjectType] = &[SubjectType::RevocationList, SubjectType::Store];
const CERTIFICATE: &[SubjectType] = &[SubjectType::Certificate];

/// The beginning of a row: what the event is called, how bad it can be, what it is about, how its alarm ends.
const fn row(
    name: &'static str,
    severities: &'static [Severity],
    subjects: &'static [SubjectType],
    ends: End,
) -> Facts {
    Facts { name, severities, subjects, ends, means: "", action: "", text_explains: false, failure: None }
}

/// The beginning of a row about a target that owes its turn.
const fn owed(name: &'static str, severities: &'static [Severity]) -> Facts {
    Facts { failure: Some(Failure::Owed), ..row(name, severities, TARGET, End::Settled) }
}

impl Facts {
    /// What it means for trust. Its findings tell what happened, and leave it to the catalogue to explain it.
    const fn means(self, means: &'static str) -> Self {
        Self { means, ..self }
    }

    /// What it means for trust. Each of its findings says so in its text too, and what to do.
    const fn tells(self, means: &'static str) -> Self {
        Self { means, text_explains: true, ..self }
    }

    /// What to do.
    const fn act(self, action: &'static str) -> Self {
        Self { action, ..self }
    }

    /// What it makes a command fail by.
    const fn fails(self, failure: Failure) -> Self {
        Self { failure: Some(failure), ..self }
    }

    /// The whole row; one that lacks a text does not compile.
    const fn complete(self) -> Self {
        assert!(!self.means.is_empty() && !self.action.is_empty());
        self
    }
}

catalogue!(
    // --- what a source said, or did not ---
    SourceUnreachable = row("source_unreachable", WARNING, SOURCE, End::Poll)
        .means("The vendor was not reached. Trust is unchanged, and a rotation would go unseen until the next answer.")
        .act("Look at the network, the proxy and the DNS between this machine and the vendor.")
        .fails(Failure::Source),
    SourceRefusedUs = row("source_refused_us", WARNING, SOURCE, End::Poll)
        .means("The vendor answered, but did not serve us. Trust is unchanged, and a rotation would go unseen.")
        .act("Look at the client's id, secret and permissions; a limit or an outage passes by itself.")
        .fails(Failure::Source),
    AnswerRefused = row("answer_refused", WARNING, SOURCE, End::Poll)
        .means("A listing was not what the API promises, so nothing of it counts. What is trusted stays.")
        .act("If it goes on, show the text to the vendor; a proxy may have changed the answer.")
        .fails(Failure::Answer),
    SourceMisconfigured = row("source_misconfigured", WARNING, SOURCE, End::Poll)
        .means("The source cannot be asked as it is configured. Trust is unchanged, and a rotation would go unseen.")
        .act("Correct what the text names, and run trustsync config check.")
        .fails(Failure::Configuration),
    SourceStale = row("source_stale", CRITICAL_OR_WARNING, SOURCE, End::Poll)
        .tells("No poll has succeeded for long, or ever: a rotation since then would go unseen.")
        .act("Run trustsync sync, and see why it fails; make sure that the daemon or the timer runs."),
    PollOverdue = row("poll_overdue", CRITICAL_OR_WARNING, SOURCE, End::Judged)
        .tells("A source was not asked when it was due: a rotation would go unseen.")
        .act("See whether the daemon or the timer runs; systemctl status trustsync, systemctl list-timers."),
    ClocksDisagree = row("clocks_disagree", WARNING, SOURCE, End::ClocksAgree)
        .tells("Which clock is right is unknown, so this answer removes nothing.")
        .act("Look at this machine's time synchronisation."),
    VendorClockUnknown = row("vendor_clock_unknown", NOTE, SOURCE, End::Note)
        .tells("The answer does not say when it was made, so it removes nothing.")
        .act("Nothing; if it goes on, see whether a proxy drops the Date header."),
    AnswerStale = row("answer_stale", WARNING, SOURCE, End::Observed)
        .tells("One answer is older than another of the same poll. What it lists enters, nothing leaves by it.")
        .act("Look for a cache or a proxy between this machine and the vendor, and take the vendor's API out of it."),
    ListingIncomplete = row("listing_incomplete", WARNING, SOURCE, End::Observed)
        .tells("A listing contradicts its own counts. What it lists enters, nothing leaves by it.")
        .act("If it goes on, show the text to the vendor; a proxy may have changed the answer."),
    EntityOfUnknownAuthority = row("entity_of_unknown_authority", WARNING, SOURCE, End::Observed)
        .means("The vendor lists a certificate of an authority unknown to this version. Nothing leaves by this answer.")
        .act("Look at the vendor's announcements and for a newer trustsync."),
    EntitySkipped = row("entity_skipped", WARNING, SOURCE, End::Observed)
        .means("The vendor lists a certificate of a type or status that this version does not know. The others count.")
        .act("Look at the vendor's announcements and for a newer trustsync."),
    ListingDisagreement = row("listing_disagreement", NOTE, SLOT, End::PassingNote)
        .tells("The vendor's two listings contradict each other. What either lists is trusted.")
        .act("Nothing: it happens while a rotation is in progress."),
    // --- what a slot's certificates are ---
    IdentityLearned = row("identity_learned", WARNING, SLOT, End::Observed)
        .tells("The names of the current certificate were adopted: its successors must carry one of them.")
        .act("Compare the names with the vendor's page, and pin them with the line in the text."),
    CurrentRefused = row("current_refused", CRITICAL, SLOT, End::Acknowledged)
        .means("What the vendor lists as current fails the policy and does not enter. What is trusted stays.")
        .act("Read the reason in the text; trustsync verify checks a file alone. Ask the vendor whether it is theirs."),
    CurrentExpired = row("current_expired", CRITICAL, SLOT, End::Observed)
        .means("What the vendor lists as current has expired: servers refuse its calls.")
        .act("Ask the vendor for its next certificate. Look at this machine's clock."),
    CurrentAbsent = row("current_absent", CRITICAL, SLOT, End::Observed)
        .means("What the vendor presents now is unknown. An empty store stays empty; another keeps what it trusts.")
        .act("Ask the vendor; check that the region and the authority are right."),
    UpcomingRefused = row("upcoming_refused", CRITICAL, SLOT, End::Acknowledged)
        .means("What the vendor will present fails the policy: calls fail from the day of the rotation.")
        .act("Read the reason in the text, and settle it before that day: with the vendor, or by trustsync trust."),
    UpcomingExpired = row("upcoming_expired", CRITICAL, SLOT, End::Observed)
        .means("What the vendor lists as upcoming has expired, so it is not a successor.")
        .act("Ask the vendor which certificate follows. Look at this machine's clock."),
    UpcomingMissing = row("upcoming_missing", CRITICAL_OR_WARNING, SLOT, End::Observed)
        .tells("The current certificate ends soon, and no successor is listed: calls fail from its last day on.")
        .act("Ask the vendor for the upcoming certificate."),
    UpcomingIsNoSuccessor = row("upcoming_is_no_successor", WARNING, SLOT, End::Observed)
        .means("The vendor lists one certificate as current and as upcoming: no successor is known yet.")
        .act("Nothing while a rotation is in progress; else ask the vendor."),
    UpcomingEndsEarly = row("upcoming_ends_early", WARNING, SLOT, End::Observed)
        .tells("The upcoming certificate is trusted, but ends no later than the current one: it is not the successor.")
        .act("Ask the vendor whether a later one follows."),
    UpcomingEarly = row("upcoming_early", NOTE, SLOT, End::Note)
        .tells("A successor is listed before the window and is trusted from now on.")
        .act("Nothing."),
    LastCertificateExpired = row("last_certificate_expired", CRITICAL, SLOT_OR_STORE, End::AnyCycle)
        .means("Everything that is trusted has expired: servers refuse the vendor's calls.")
        .act("Run trustsync sync, and ask the vendor for its current certificate."),
    RetirementBlocked = row("retirement_blocked", WARNING, SLOT, End::AnyCycle)
        .means("A certificate that the vendor no longer lists stays trusted, since no clean answer has confirmed it.")
        .act("The source's other alarms say what makes its answers unclean; trustsync distrust removes it at once."),
    RootEnds = row("root_ends", CRITICAL_OR_WARNING, SLOT, End::AnyCycle)
        .tells("A root ends, and every certificate below it is refused from that day on.")
        .act("Ask the vendor for its successor, and add that to the source's anchors."),
    CertificateLeft = row("certificate_left", NOTE, SLOT, End::Note)
        .tells("A certificate left: it expired, its grace is over, or the operator's override ended.")
        .act("Nothing."),
    SlotRetiring = row("slot_retiring", WARNING, SLOT, End::AnyCycle)
        .means("The configuration no longer names the slot; what it trusts leaves when the grace is over.")
        .act("Nothing if it was meant; else put the source, region or authority back."),
    SlotRetired = row("slot_retired", NOTE, SLOT, End::Note)
        .tells("A slot is no longer configured, and what it trusted has left.")
        .act("Nothing."),
    // --- denials, overrides, holds, limits ---
    CertificateRevoked = row("certificate_revoked", CRITICAL, SLOT, End::Acknowledged)
        .tells("A CA has revoked a certificate: it is denied until its expiry, and calls with it fail. Where an issuer was \
                revoked, each leaf is denied that has no other path.")
        .act("Ask the vendor for its next certificate."),
    RevocationLifted = row("revocation_lifted", NOTE, SLOT, End::Note)
        .tells("A leaf that was denied because an issuer was revoked has another path now: it may enter again.")
        .act("Nothing."),
    DeniedCertificateLeft = row("denied_certificate_left", CRITICAL, SLOT, End::Acknowledged)
        .means("A revoked or distrusted certificate left the trust set: calls with it fail from now on.")
        .act("If that is the vendor's current certificate, ask for another. trustsync status lists what is denied."),
    DeniedCertificateListed = row("denied_certificate_listed", CRITICAL, SLOT, End::Observed)
        .means("The vendor lists a certificate that is denied here, so calls with it fail.")
        .act("Ask the vendor for another certificate; trustsync status says who denied this one."),
    AdditionHeldBack = row("addition_held_back", CRITICAL, SLOT, End::Release)
        .tells("A hold keeps a verified certificate out: calls fail once the vendor presents it.")
        .act("Run trustsync release.")
        .fails(Failure::Owed),
    ListedNotTrusted = row("listed_not_trusted", CRITICAL, SLOT, End::Judged)
        .tells("The vendor lists a certificate that a command has taken out, or keeps out: calls with it fail.")
        .act("Run trustsync release, then trustsync sync; trustsync history says what took it out."),
    IssuerChanged = row("issuer_changed", CRITICAL, SLOT, End::IssuerAccepted)
        .tells("A verified certificate has another issuer than before, and verify.changed_issuer keeps it out.")
        .act("Ask the vendor; if the issuer is theirs, run trustsync accept-issuer."),
    TooManyEntities = row("too_many_entities", CRITICAL, SLOT, End::Observed)
        .tells("The vendor lists more certificates than are judged. Those that are judged count, and nothing leaves.")
        .act("Look at the listing by hand, and ask the vendor."),
    TooManyPins = row("too_many_pins", CRITICAL, SLOT, End::Observed)
        .tells("The slot trusts as many certificates as it may, and the vendor lists more: those are kept out.")
        .act("Ask the vendor; if all are theirs, raise verify.max_pins."),
    ServersWouldRefuse = row("servers_would_refuse", CRITICAL_OR_WARNING, SLOT, End::Observed)
        .tells("Servers that use OpenSSL do not find the path by which a certificate was accepted here: they refuse it. One \
                that would have them refuse another is kept out.")
        .act("Show the text to the vendor: two issuers share a name, or a certificate says what it may not be used for."),
    TooManyNewLeaves = row("too_many_new_leaves", CRITICAL, SLOT, End::Observed)
        .tells("One answer brings more new certificates than an answer may add: none of them enters.")
        .act("Ask the vendor; if all are theirs, raise verify.max_new_leaves for one cycle."),
    TrustedByWord = row("trusted_by_word", WARNING_OR_NOTE, SLOT, End::Override)
        .tells("The operator's override trusts a certificate that the vendor does not list, until a set end.")
        .act("Run trustsync trust again if it is still needed."),
    WordEnded = row("word_ended", WARNING, SLOT, End::Override)
        .tells("The operator's override has ended, but the certificate is the last of its slot and stays.")
        .act("See why the vendor lists no other; trustsync distrust ends it."),
    DistrustIsPartial = row("distrust_is_partial", WARNING, CERTIFICATE, End::Observed)
        .tells("The distrust does not deny every certificate that it seems to.")
        .act("Distrust the leaves instead of their issuer, or take the anchor out of the configuration."),
    WordNotPublished = row("word_not_published", CRITICAL, STORE, End::Observed)
        .tells("The operator's override is not in force at the servers, because the store has lost certificates.")
        .act("Run trustsync sync, then repeat the command.")
        .fails(Failure::Owed),
    // --- revocation lists ---
    CrlUnavailable = row("crl_unavailable", WARNING, LIST_OR_STORE, End::List)
        .means("A revocation since then would go unseen. What was found revoked stays out.")
        .act("See whether this machine can reach that address over HTTP, through the source's proxy if need be."),
    CrlNotRefreshed = row("crl_not_refreshed", NOTE, LIST, End::Note)
        .tells("A newer list did not come; the one that is kept is in force and in use.")
        .act("Nothing while the kept list is in force."),
    CrlNotKept = row("crl_not_kept", WARNING, STORE, End::List)
        .means("Lists are used, but not kept: they must be fetched again after a restart.")
        .act("Look at the disk and at the permissions of the store's folder crl."),
    RevocationUnknown = row("revocation_unknown", WARNING_OR_NOTE, SLOT, End::List)
        .tells("No list in force speaks for a certificate that is trusted: a revocation of it would go unseen.")
        .act("Look at the list with trustsync inspect, and ask the CA which list is for this certificate."),
    TooManyCrls = row("too_many_crls", WARNING, STORE, End::List)
        .means("The certificates name more lists than are fetched; a revocation in another would go unseen.")
        .act("Look at the certificates with trustsync inspect: the vendor's name one list each."),
    // --- the store ---
    StoreEmpty = row("store_empty", CRITICAL, STORE, End::FirstGeneration)
        .means("The store has published nothing yet. The servers keep what they run with now.")
        .act("The alarms of its sources say why no current certificate came."),
    StoreNearlyFull = row("store_nearly_full", WARNING, STORE, End::Judged)
        .means("A rotation may find no room on the disk, and then does not reach the servers.")
        .act("Free space on the filesystem of the store, or give it more."),
    StoreFailing = row("store_failing", CRITICAL, STORE, End::Judged)
        .tells(
            "The store cannot be written now: nothing is added, removed, reloaded or proven. What is published stays."
        )
        .act("Repair what the text names: a full disk, permissions, a read-only filesystem."),
    DaemonSilent = row("daemon_silent", CRITICAL_OR_WARNING, STORE, End::Judged)
        .tells("The daemon that minds the store gives no sign of life; critical once a poll is overdue.")
        .act("Start it again, and see in its log why it ended: journalctl -u trustsync."),
    StoreDrift = row("store_drift", WARNING, STORE_OR_TARGET, End::Acknowledged)
        .means("Someone else changed what servers read. Anyone who can do that can change whom they trust.")
        .act("Find out who writes there. store.NAME.on_drift says whether it is repaired."),
    StoreUnfaithful = row("store_unfaithful", CRITICAL, STORE, End::Observed)
        .tells("The disk never held what was written, so a repair would change nothing.")
        .act("Look at the filesystem, and at who changes its files. It ends once the files are as they were written."),
    StateLost = row("state_lost", CRITICAL, STORE, End::Acknowledged)
        .means("What is trusted was read from the generation and stays; counters, holds and overrides may be lost.")
        .act("Look at the disk, and at who removed it. Restore a backup, or repeat trustsync distrust and hold."),
    ManifestDamaged = row("manifest_damaged", CRITICAL, STORE, End::Acknowledged)
        .means("A generation cannot be read. An older one that a link names is used; newer trust may be missing.")
        .act("Look at the disk. The next poll publishes a new generation."),
    CertificateLost = row("certificate_lost", CRITICAL, STORE, End::Acknowledged)
        .tells("Trusted certificates are missing from the disk. What is published stays until the vendor answers.")
        .act("Look at the disk, and run trustsync sync."),
    GenerationNotWritten = row("generation_not_written", CRITICAL, STORE, End::Observed)
        .means("What is new may not reach the servers. What they read is whole: the previous generation, or the new one.")
        .act("Repair what the text names: a full disk, permissions, a read-only filesystem.")
        .fails(Failure::Store),
    StateNotSaved = row("state_not_saved", CRITICAL, STORE, End::Observed)
        .means("What is published stands; the next cycle begins from the records of the cycle before.")
        .act("Repair what the text names: a full disk, permissions, a read-only filesystem.")
        .fails(Failure::Store),
    StoreNotSwept = row("store_not_swept", WARNING, STORE, End::Observed)
        .means("Old files stay on the disk. No server reads them, and trust is not affected.")
        .act("Remove what the text names, or correct its permissions."),
    EvidenceNotWritten = row("evidence_not_written", WARNING, STORE, End::Observed)
        .means("The record for auditors lags behind. What it lacks is kept, and trust is not affected.")
        .act("Repair what the text names: a full disk, or the permissions of evidence.jsonl."),
    ClockImplausible = row("clock_implausible", CRITICAL, STORE, End::Observed)
        .tells("This machine's clock cannot be right: nothing is removed or ended by the clock alone.")
        .act("Look at this machine's time synchronisation."),
    SeedAdopted = row("seed_adopted", NOTE, STORE, End::Note)
        .tells("The store trusts what a seed brought; a rotation since the seed was made would go unseen until a poll.")
        .act("Nothing: the next poll confirms it."),
    SeedRefused = row("seed_refused", WARNING, STORE, End::Observed)
        .tells("A part of the seed failed the policy and did not enter.")
        .act("Make a new seed from an up-to-date store; the next poll brings what the vendor lists."),
    SeedUnusable = row("seed_unusable", WARNING, STORE, End::Observed)
        .means("The seed brought nothing: the store is empty until the vendor has answered.")
        .act("Give a copy of a whole generation as the seed, or none.")
        .fails(Failure::Answer),
    // --- a target's turn, where it is owed ---
    TargetGenerationUnreadable = owed("target_generation_unreadable", CRITICAL)
        .tells("The files did not read back as they were written. The server keeps the old trust.")
        .act("Look at the disk, and at who else writes into the store.")
        .fails(Failure::Store),
    TargetNotSwitched = owed("target_not_switched", CRITICAL)
        .tells("The link that the server reads by could not be moved. The server keeps the old trust.")
        .act("Repair what the text names: permissions, or something else in the link's place.")
        .fails(Failure::Store),
    TargetCheckRefused = owed("target_check_refused", CRITICAL)
        .tells("The server's own check refuses the new generation and passes with the old one: it lacks what is new.")
        .act("Correct what the check names; if it names files of this store, report that as a bug.")
        .fails(Failure::Check),
    TargetBroken = owed("target_broken", CRITICAL)
        .tells("The server's configuration is broken elsewhere: it keeps the old trust, and might not restart.")
        .act("Correct what the check names, and reload the server as you always do.")
        .fails(Failure::Check),
    TargetCheckFailed = owed("target_check_failed", CRITICAL)
        .tells("The check fails with the new generation in place, so the server was not reloaded.")
        .act("Correct what the check names, and reload the server as you always do.")
        .fails(Failure::Check),
    TargetCheckNotRun = owed("target_check_not_run", CRITICAL)
        .tells("Whether the server would load the new generation is unknown, so it was not reloaded.")
        .act("Repair the check, or what it needs; check = [] says that there is none."),
    TargetNotTold = owed("target_not_told", CRITICAL)
        .tells("The server could not be reloaded; it loads the new generation at its next start or reload.")
        .act("Repair the reload that the text names, or reload the server by hand and run trustsync reload."),
    TargetWithheld = owed("target_withheld", CRITICAL)
        .tells("The privileged helper refuses a part of the generation: the server lacks that part.")
        .act("Compare root's configuration with the daemon's; if they agree, find out who writes into the store."),
    TargetNotWired = owed("target_not_wired", CRITICAL)
        .tells("The server does not use this store's files: no rotation reaches it.")
        .act("Add the lines that trustsync snippet prints to its configuration, and reload it."),
    TargetNotEnforced = row("target_not_enforced", CRITICAL, TARGET, End::Enforced)
        .tells("The server loads the allowlist but does not ask it: other people's certificates of the same CA get in.")
        .act("Add the lines that trustsync snippet prints to its configuration, and reload it.")
        .fails(Failure::Owed),
    TargetChainOnly = owed("target_chain_only", CRITICAL_OR_WARNING)
        .means("The chain is loaded, and the allowlist was not seen. The chain alone admits strangers of the same CA.")
        .act("Include the allowlist too, and let the proof see it; trustsync snippet prints the lines."),
    TargetAllowlistOnly = owed("target_allowlist_only", CRITICAL_OR_NOTE)
        .means("The allowlist is loaded; the chain was not seen. Without it the upcoming certificate may be refused.")
        .act("See that the server reads the chain from this store."),
    TargetRefuted = owed("target_refuted", CRITICAL)
        .tells("The server was reloaded and still serves another generation.")
        .act("See whether the server's own log shows a refused reload, and whether it reads a copy of the files."),
    TargetNotYet = owed("target_not_yet", CRITICAL)
        .tells("The server was reloaded and does not steadily serve the generation.")
        .act("Look for several servers behind the address of the proof, and for old workers that do not end."),
    TargetUnreachable = owed("target_unreachable", CRITICAL_OR_WARNING)
        .means("The server does not answer. What it serves is unknown; the new generation is in place for its start.")
        .act("See whether the server runs, and whether proof.connect is its address."),
    TargetUnproven = owed("target_unproven", CRITICAL)
        .tells("The server was reloaded, and nothing there shows what it serves.")
        .act("Configure a proof that can see it, or check the server and run trustsync confirm."),
    TargetBehind = row("target_behind", WARNING, TARGET, End::Settled)
        .tells("A generation is in place, and the server's turn with it is unknown.")
        .act("Run trustsync sync, and see what it says."),
    TargetOutOfReach = row("target_out_of_reach", WARNING, TARGET, End::Observed)
        .tells("The server may be proven now, but this process may not do what the next change needs.")
        .act("Set privileged = true for the target, or run trustsync as a user who may do what the text names."),
    // --- a target's turn, where it is settled ---
    TargetWouldNotStart = row("target_would_not_start", WARNING, TARGET, End::Observed)
        .tells("The server serves what it should, but its configuration is broken on the disk: a restart would fail.")
        .act("Correct what the check names; the next turn sees it."),
    TargetNotProven = row("target_not_proven", WARNING_OR_NOTE, TARGET, End::Settled)
        .means("The server was reloaded, and nothing proves that it took the change.")
        .act("Configure a proof, or check the server yourself."),
    TargetConfirmed = row("target_confirmed", NOTE, TARGET, End::Note)
        .tells("Only the operator's confirmation says that the server serves the generation.")
        .act("Nothing; a proof that can see it would say more."),
    TargetCaOnly = row("target_ca_only", NOTE, TARGET, End::Note)
        .tells("The server cannot tell one certificate from another of the same CA.")
        .act("Make sure that the application behind it compares the certificate."),
    TargetReloadedInstead = row("target_reloaded_instead", NOTE, TARGET, End::Note)
        .tells("The server could not take the change at run time and was reloaded.")
        .act("Nothing."),
    TargetHalfSilent = row("target_half_silent", WARNING, TARGET, End::Settled)
        .means("The server serves what it should, but the privileged helper is silent: it will miss the next change.")
        .act("See systemctl status trustsync-apply@TARGET.path, and run sudo trustsync apply TARGET."),
    TargetAdmitsNobody = row("target_admits_nobody", CRITICAL, TARGET, End::Settled)
        .tells("Envoy refuses every client, because it cannot deny one certificate of a name that it admits.")
        .act("trustsync status lists what is denied; the next certificate that the vendor lists gets in."),
    TargetOneByOne = row("target_one_by_one", WARNING, TARGET, End::Settled)
        .means("Envoy admits the listed certificates one by one: it refuses a renewed one until the next poll.")
        .act("Nothing, or end the denial once it is no longer needed."),
    TargetIssuerAlone = row("target_issuer_alone", NOTE, TARGET, End::Note)
        .tells("Envoy admits every certificate that the Genesys root has signed.")
        .act("Nothing: the vendor's page asks for no more."),
    TargetDenialPartial = row("target_denial_partial", WARNING, TARGET, End::Settled)
        .means("The server cannot refuse some denied certificates if they carry an admitted name.")
        .act("Nothing: the denial is complete once the vendor lists the certificate."),
    Enforcement = row("enforcement", NOTE, TARGET, End::Note)
        .means("What the server's configuration does with the allowlist, or why that could not be seen.")
        .act("Read the text."),
    // --- a target's check ---
    CheckUnavailable = row("check_unavailable", WARNING, TARGET, End::Observed)
        .tells("The best check cannot run here, so a weaker one does.")
        .act("Give it the privileged helper (privileged = true), or the capabilities that the text names."),
    CheckNotJudged = row("check_not_judged", NOTE, TARGET, End::Note)
        .tells("Whether the check reads our files could not be seen.")
        .act("Nothing."),
    CheckBlind = row("check_blind", WARNING, TARGET, End::Observed)
        .tells("The check passes a generation that was broken on purpose: that it passes means nothing.")
        .act("Make it read the configuration that the server loads, where it runs; check = [] says there is none."),
    // --- the privileged helper ---
    AdoptionRefused = row("adoption_refused", CRITICAL, TARGET, End::Settled)
        .means("The privileged helper verified this by root's own configuration, and refused it.")
        .act("Compare root's configuration with the daemon's; if they agree, find out who writes into the store."),
    OutcomeNotWritten = row("outcome_not_written", CRITICAL, TARGET, End::Observed)
        .means("The privileged helper did its work, but the daemon cannot learn the outcome.")
        .act("Repair what the text names: a full disk, or the permissions of the privileged path.")
        .fails(Failure::Store),
    ApplyNotSaved = row("apply_not_saved", CRITICAL, TARGET, End::Observed)
        .means("The turn is done; the next one begins from the privileged helper's earlier records.")
        .act("Repair what the text names: a full disk, or the permissions of the privileged path.")
        .fails(Failure::Store),
    ApplyNotSwept = row("apply_not_swept", WARNING, TARGET, End::Observed)
        .means("Old files of root's stay on the disk. No server reads them, and trust is not affected.")
        .act("Remove what the text names, or correct its permissions."),
);

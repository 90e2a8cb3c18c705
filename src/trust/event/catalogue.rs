//! The table. A row: the name, the severities, the type of the subject, how the alarm ends; then what it means for trust,
//! and what to do.

use super::{End, Facts, Failure};
use crate::trust::finding::Severity;
use crate::trust::subject::SubjectType;

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
                    $(Self::$event => const { &$facts }),+
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

/// The beginning of a row.
struct Row {
    name: &'static str,
    severities: &'static [Severity],
    subjects: &'static [SubjectType],
    ends: End,
}

const fn row(name: &'static str, severities: &'static [Severity], subjects: &'static [SubjectType], ends: End) -> Row {
    Row { name, severities, subjects, ends }
}

impl Row {
    /// The row of an event whose findings tell what happened, and leave it to the catalogue to explain it.
    const fn means(self, means: &'static str, action: &'static str) -> Facts {
        let Self { name, severities, subjects, ends } = self;
        Facts { name, severities, subjects, ends, means, action, text_explains: false, failure: None }
    }

    /// The row of an event each of whose findings says in its text what it means and what to do.
    const fn tells(self, means: &'static str, action: &'static str) -> Facts {
        Facts { text_explains: true, ..self.means(means, action) }
    }
}

impl Facts {
    const fn fails(self, failure: Failure) -> Self {
        Self { failure: Some(failure), ..self }
    }
}

catalogue!(
    // --- what a source said, or did not ---
    SourceUnreachable = row("source_unreachable", WARNING, SOURCE, End::Poll)
        .means(
            "The vendor was not reached. Trust is unchanged, and a rotation would go unseen until the next answer.",
            "Look at the network, the proxy and the DNS between this machine and the vendor.",
        )
        .fails(Failure::Source),
    SourceRefusedUs = row("source_refused_us", WARNING, SOURCE, End::Poll)
        .means(
            "The vendor answered, but did not serve us. Trust is unchanged, and a rotation would go unseen.",
            "Look at the client's id, secret and permissions; a limit or an outage passes by itself.",
        )
        .fails(Failure::Source),
    AnswerRefused = row("answer_refused", WARNING, SOURCE, End::Poll)
        .means(
            "A listing was not what the API promises, so nothing of it counts. What is trusted stays.",
            "If it goes on, show the text to the vendor; a proxy may have changed the answer.",
        )
        .fails(Failure::Answer),
    SourceMisconfigured = row("source_misconfigured", WARNING, SOURCE, End::Poll)
        .means(
            "The source cannot be asked as it is configured. Trust is unchanged, and a rotation would go unseen.",
            "Mend what the text names; trustsync config check judges it.",
        )
        .fails(Failure::Configuration),
    SourceStale = row("source_stale", CRITICAL_OR_WARNING, SOURCE, End::Poll).tells(
        "No poll has succeeded for long, or ever: a rotation since then would go unseen.",
        "Run trustsync sync, and see why it fails; see that the daemon or the timer runs.",
    ),
    ClocksDisagree = row("clocks_disagree", WARNING, SOURCE, End::ClocksAgree).tells(
        "Nobody can tell which clock is right, so nothing is removed by this answer.",
        "Look at this machine's time synchronisation.",
    ),
    VendorClockUnknown = row("vendor_clock_unknown", NOTE, SOURCE, End::Note).tells(
        "The answer does not say when it was made, so nothing is removed by it.",
        "Nothing; if it goes on, look whether a proxy drops the Date header.",
    ),
    EntityOfUnknownAuthority = row("entity_of_unknown_authority", WARNING, SOURCE, End::Observed).means(
        "The vendor lists a certificate of an authority that this version does not know. Nothing leaves by this answer.",
        "Look at the vendor's announcements and for a newer trustsync.",
    ),
    EntitySkipped = row("entity_skipped", WARNING, SOURCE, End::Observed).means(
        "The vendor lists a certificate of a type or status that this version does not know. The others count.",
        "Look at the vendor's announcements and for a newer trustsync.",
    ),
    ListingDisagreement = row("listing_disagreement", NOTE, SLOT, End::PassingNote).tells(
        "The vendor's two listings contradict each other. What either lists is trusted.",
        "Nothing: it happens while a rotation is in progress.",
    ),
    // --- what a slot's certificates are ---
    IdentityLearned = row("identity_learned", WARNING, SLOT, End::Observed).tells(
        "The names of the current certificate were adopted: its successors must carry one of them.",
        "Compare the names with the vendor's page, and pin them by the line in the text.",
    ),
    CurrentRefused = row("current_refused", CRITICAL, SLOT, End::Acknowledged).means(
        "What the vendor lists as current does not pass the policy and does not enter. What is trusted stays.",
        "Read the reason in the text; trustsync verify judges a file by itself. Ask the vendor if it is theirs.",
    ),
    CurrentExpired = row("current_expired", CRITICAL, SLOT, End::Observed).means(
        "What the vendor lists as current has expired: servers refuse its calls.",
        "Ask the vendor for its next certificate. Look at this machine's clock.",
    ),
    CurrentAbsent = row("current_absent", CRITICAL, SLOT, End::Observed).means(
        "Nobody knows what the vendor presents now. An empty store stays empty; another keeps what it trusts.",
        "Ask the vendor; look whether the region and the authority are the right ones.",
    ),
    UpcomingRefused = row("upcoming_refused", CRITICAL, SLOT, End::Acknowledged).means(
        "What the vendor will present does not pass the policy: calls fail from the day of the rotation.",
        "Read the reason in the text, and settle it before that day: with the vendor, or with trustsync trust.",
    ),
    UpcomingExpired = row("upcoming_expired", CRITICAL, SLOT, End::Observed).means(
        "What the vendor lists as upcoming has expired, so it is not a successor.",
        "Ask the vendor which certificate follows. Look at this machine's clock.",
    ),
    UpcomingMissing = row("upcoming_missing", CRITICAL_OR_WARNING, SLOT, End::Observed).tells(
        "The current certificate ends soon, and no successor is listed: calls fail from its last day on.",
        "Ask the vendor for the upcoming certificate.",
    ),
    UpcomingIsNoSuccessor = row("upcoming_is_no_successor", WARNING, SLOT, End::Observed).means(
        "The vendor lists the same certificate as current and as upcoming: a successor is not known yet.",
        "Nothing while a rotation is in progress; else ask the vendor.",
    ),
    UpcomingEndsEarly = row("upcoming_ends_early", WARNING, SLOT, End::Observed).tells(
        "The upcoming certificate is trusted, but ends no later than the current one: it is not the successor.",
        "Ask the vendor whether a later one follows.",
    ),
    UpcomingEarly = row("upcoming_early", NOTE, SLOT, End::Note).tells(
        "A successor is listed before the window and is trusted from now on.",
        "Nothing.",
    ),
    LastCertificateExpired = row("last_certificate_expired", CRITICAL, SLOT_OR_STORE, End::AnyCycle).means(
        "Nothing that is trusted is valid any more: servers refuse the vendor's calls.",
        "Run trustsync sync, and ask the vendor for its current certificate.",
    ),
    RetirementBlocked = row("retirement_blocked", WARNING, SLOT, End::AnyCycle).means(
        "A certificate that the vendor no longer lists stays trusted, since no clean answer has confirmed it.",
        "See the other alarms of the source for what makes its answers unclean; trustsync distrust ends it at once.",
    ),
    RootEnds = row("root_ends", CRITICAL_OR_WARNING, SLOT, End::AnyCycle).tells(
        "A root ends, and every certificate below it is refused from that day on.",
        "Ask the vendor for its successor, and add that to the source's anchors.",
    ),
    CertificateLeft = row("certificate_left", NOTE, SLOT, End::Note).tells(
        "A certificate is not trusted any more, by expiry, by the grace's end or by the end of the operator's word.",
        "Nothing.",
    ),
    SlotRetiring = row("slot_retiring", WARNING, SLOT, End::AnyCycle).means(
        "The configuration does not name the slot any more; what it trusts leaves when the grace is over.",
        "Nothing if it was meant; else put the source, region or authority back.",
    ),
    SlotRetired = row("slot_retired", NOTE, SLOT, End::Note).tells(
        "What a slot trusted that is not configured any more has left.",
        "Nothing.",
    ),
    // --- denials, words, holds, limits ---
    CertificateRevoked = row("certificate_revoked", CRITICAL, SLOT, End::Acknowledged).tells(
        "A CA has revoked a certificate: it is denied until its expiry, and calls with it fail.",
        "Ask the vendor for its next certificate.",
    ),
    DeniedCertificateLeft = row("denied_certificate_left", CRITICAL, SLOT, End::Acknowledged).means(
        "A revoked or distrusted certificate left the trust set: calls with it fail from now on.",
        "If that is the vendor's current certificate, ask for another one. See trustsync status for what is denied.",
    ),
    DeniedCertificateListed = row("denied_certificate_listed", CRITICAL, SLOT, End::Observed).means(
        "The vendor lists a certificate that is denied here, so calls with it fail.",
        "Ask the vendor for another certificate; see trustsync status for who denied this one.",
    ),
    AdditionHeldBack = row("addition_held_back", CRITICAL, SLOT, End::Release)
        .tells(
            "A hold keeps a verified certificate out: calls fail once the vendor presents it.",
            "Run trustsync release.",
        )
        .fails(Failure::Owed),
    IssuerChanged = row("issuer_changed", CRITICAL, SLOT, End::IssuerAccepted).tells(
        "A verified certificate has another issuer than before, and verify.changed_issuer keeps it out.",
        "Ask the vendor; if the issuer is theirs, run trustsync accept-issuer.",
    ),
    TooManyNewLeaves = row("too_many_new_leaves", CRITICAL, SLOT, End::Observed).tells(
        "One answer brings more new certificates than one may add: none of them enters.",
        "Ask the vendor; if all are theirs, raise verify.max_new_leaves for one cycle.",
    ),
    TrustedByWord = row("trusted_by_word", WARNING_OR_NOTE, SLOT, End::Word).tells(
        "A certificate that the vendor does not list is trusted by the operator's word, which ends.",
        "Run trustsync trust again if it is still needed.",
    ),
    WordEnded = row("word_ended", WARNING, SLOT, End::Word).tells(
        "The operator's word has ended, but the certificate is the last of its slot and stays.",
        "See why the vendor lists no other; trustsync distrust ends it.",
    ),
    DistrustIsPartial = row("distrust_is_partial", WARNING, CERTIFICATE, End::Observed).tells(
        "A distrust reaches less far than it sounds.",
        "Distrust the leaves instead of their issuer, or take the anchor out of the configuration.",
    ),
    WordNotPublished = row("word_not_published", CRITICAL, STORE, End::Observed)
        .tells(
            "What the operator said is not in force at the servers, since the store has lost certificates.",
            "Run trustsync sync, then say it again.",
        )
        .fails(Failure::Owed),
    // --- revocation lists ---
    CrlUnavailable = row("crl_unavailable", WARNING, LIST_OR_STORE, End::List).means(
        "Nobody can tell whether something of ours was revoked since. What was found revoked stays out.",
        "Look whether this machine may ask that address over HTTP, through the source's proxy if need be.",
    ),
    CrlNotRefreshed = row("crl_not_refreshed", NOTE, LIST, End::Note).tells(
        "A newer list did not come; the one that is kept is in force and in use.",
        "Nothing while the kept list is in force.",
    ),
    CrlNotKept = row("crl_not_kept", WARNING, STORE, End::List).means(
        "Lists are used, but not kept: after a restart they have to be fetched again.",
        "Look at the disk and at the permissions of the store's folder crl.",
    ),
    TooManyCrls = row("too_many_crls", WARNING, STORE, End::List).means(
        "The certificates name more lists than are asked; a revocation in one of the others would go unseen.",
        "Look at the certificates with trustsync inspect: the vendor's name one list each.",
    ),
    // --- the store ---
    StoreEmpty = row("store_empty", CRITICAL, STORE, End::FirstGeneration).means(
        "The store has published nothing yet. What the servers run with now stays.",
        "See the alarms of its sources for why no current certificate came.",
    ),
    StoreDrift = row("store_drift", WARNING, STORE_OR_TARGET, End::Acknowledged).means(
        "Somebody else changed what servers read. Anyone who can do that can change whom they trust.",
        "Find out who writes there. store.NAME.on_drift says whether it is repaired.",
    ),
    StoreUnfaithful = row("store_unfaithful", CRITICAL, STORE, End::Observed).tells(
        "The disk does not hold what was written, from the first moment on, so a repair would change nothing.",
        "Look at the filesystem, and at who changes what appears there. It ends once the files are as they were written.",
    ),
    StateLost = row("state_lost", CRITICAL, STORE, End::Acknowledged).means(
        "What is trusted was read from the generation, and stays; counters, holds and words may be forgotten.",
        "Look at the disk, and at who removed it. Restore a backup, or repeat trustsync distrust and hold.",
    ),
    ManifestDamaged = row("manifest_damaged", CRITICAL, STORE, End::Acknowledged).means(
        "A generation cannot be read; an older one that a link names is used, so that newer trust may be missing.",
        "Look at the disk. The next poll publishes a new generation.",
    ),
    CertificateLost = row("certificate_lost", CRITICAL, STORE, End::Acknowledged).tells(
        "Certificates that were trusted stand nowhere on the disk. What is published stays until the vendor answered.",
        "Look at the disk, and run trustsync sync.",
    ),
    GenerationNotWritten = row("generation_not_written", CRITICAL, STORE, End::Observed)
        .means(
            "Servers keep the trust of the generation before; what is new does not reach them.",
            "Mend what the text names: a full disk, permissions, a read-only filesystem.",
        )
        .fails(Failure::Store),
    StateNotSaved = row("state_not_saved", CRITICAL, STORE, End::Observed)
        .means(
            "What is published stands; the records are those of before, and the next cycle begins from them.",
            "Mend what the text names: a full disk, permissions, a read-only filesystem.",
        )
        .fails(Failure::Store),
    StoreNotSwept = row("store_not_swept", WARNING, STORE, End::Observed).means(
        "Old files stay on the disk. No server reads them, and trust is not concerned.",
        "Remove what the text names, or mend its permissions.",
    ),
    EvidenceNotWritten = row("evidence_not_written", WARNING, STORE, End::Observed).means(
        "The record for auditors lags behind. What it lacks is kept, and trust is not concerned.",
        "Mend what the text names: a full disk, or the permissions of evidence.jsonl.",
    ),
    ClockImplausible = row("clock_implausible", CRITICAL, STORE, End::Observed).tells(
        "This machine's clock cannot be right: nothing that the clock alone decides is removed or ended.",
        "Look at this machine's time synchronisation.",
    ),
    SeedAdopted = row("seed_adopted", NOTE, STORE, End::Note).tells(
        "The store trusts what a seed brought; a rotation since the seed was made would go unseen until a poll.",
        "Nothing: the next poll confirms it.",
    ),
    SeedRefused = row("seed_refused", WARNING, STORE, End::Observed).tells(
        "A part of the seed did not pass the policy and did not enter.",
        "Make a new seed from an up-to-date store; the next poll brings what the vendor lists.",
    ),
    SeedUnusable = row("seed_unusable", WARNING, STORE, End::Observed)
        .means(
            "The seed brought nothing: the store is empty until the vendor has answered.",
            "Give a copy of a whole generation as the seed, or leave it away.",
        )
        .fails(Failure::Answer),
    // --- a target's turn, where it is owed ---
    TargetGenerationUnreadable = row("target_generation_unreadable", CRITICAL, TARGET, End::Settled)
        .tells(
            "The files did not read back as they were written. The server goes on with the old trust.",
            "Look at the disk, and at who else writes into the store.",
        )
        .fails(Failure::Store),
    TargetNotSwitched = row("target_not_switched", CRITICAL, TARGET, End::Settled)
        .tells(
            "The link that the server reads by could not be moved. It goes on with the old trust.",
            "Mend what the text names: permissions, or something else in the link's place.",
        )
        .fails(Failure::Store),
    TargetCheckRefused = row("target_check_refused", CRITICAL, TARGET, End::Settled)
        .tells(
            "The server's own check refuses the new generation and passes with the old one: it lacks what is new.",
            "Mend what the check names; if it names files of this store, report that as a bug.",
        )
        .fails(Failure::Check),
    TargetBroken = row("target_broken", CRITICAL, TARGET, End::Settled)
        .tells(
            "The server's configuration is broken elsewhere: it goes on with the old trust, and might not start again.",
            "Mend what the check names, and reload the server as you always do.",
        )
        .fails(Failure::Check),
    TargetCheckFailed = row("target_check_failed", CRITICAL, TARGET, End::Settled)
        .tells(
            "The check fails with the new generation in place, so the server was not told.",
            "Mend what the check names, and reload the server as you always do.",
        )
        .fails(Failure::Check),
    TargetCheckNotRun = row("target_check_not_run", CRITICAL, TARGET, End::Settled)
        .tells(
            "Nobody knows whether the server would load the new generation, so it was not told.",
            "Mend the check, or what it needs; check = [] says that there is none.",
        )
        .fails(Failure::Owed),
    TargetNotTold = row("target_not_told", CRITICAL, TARGET, End::Settled)
        .tells(
            "The server could not be told to load the new generation; it loads it at its next start or reload.",
            "Mend the reload that the text names, or reload the server by hand and run trustsync reload.",
        )
        .fails(Failure::Owed),
    TargetWithheld = row("target_withheld", CRITICAL, TARGET, End::Settled)
        .tells(
            "The privileged half does not let in all of the generation: the server lacks what it refused.",
            "Compare root's configuration with the daemon's; if they agree, ask who writes into the store.",
        )
        .fails(Failure::Owed),
    TargetNotWired = row("target_not_wired", CRITICAL, TARGET, End::Settled)
        .tells(
            "The server does not use this store's files: no rotation reaches it.",
            "Add the lines that trustsync reload prints to its configuration, and reload it.",
        )
        .fails(Failure::Owed),
    TargetNotEnforced = row("target_not_enforced", CRITICAL, TARGET, End::Enforced)
        .tells(
            "The server loads the allowlist and does not ask it: other people's certificates of the same CA get in.",
            "Add the lines that trustsync reload prints to its configuration, and reload it.",
        )
        .fails(Failure::Owed),
    TargetChainOnly = row("target_chain_only", CRITICAL_OR_WARNING, TARGET, End::Settled)
        .means(
            "The chain is loaded, and the allowlist was not seen. The chain alone admits strangers of the same CA.",
            "Include the allowlist too, and let the proof see it; trustsync reload prints the lines.",
        )
        .fails(Failure::Owed),
    TargetAllowlistOnly = row("target_allowlist_only", CRITICAL_OR_NOTE, TARGET, End::Settled)
        .means(
            "The allowlist is loaded, and the chain was not seen. Without it the upcoming certificate may be refused.",
            "See that the server reads the chain from this store.",
        )
        .fails(Failure::Owed),
    TargetRefuted = row("target_refuted", CRITICAL, TARGET, End::Settled)
        .tells(
            "The server was told and still serves another generation.",
            "Look into the server's own log for a refused reload, and whether it reads a copy of the files.",
        )
        .fails(Failure::Owed),
    TargetNotYet = row("target_not_yet", CRITICAL, TARGET, End::Settled)
        .tells(
            "The server was told and does not steadily serve the generation.",
            "Look for several servers behind the address of the proof, and for old workers that do not end.",
        )
        .fails(Failure::Owed),
    TargetUnreachable = row("target_unreachable", CRITICAL_OR_WARNING, TARGET, End::Settled)
        .means(
            "The server does not answer, so what it serves is unknown; the new generation is in place for its start.",
            "See whether the server runs, and whether proof.connect is its address.",
        )
        .fails(Failure::Owed),
    TargetUnproven = row("target_unproven", CRITICAL, TARGET, End::Settled)
        .tells(
            "The server was told, and nothing can be seen there.",
            "Configure a proof that can see it, or run trustsync confirm after you have looked yourself.",
        )
        .fails(Failure::Owed),
    TargetBehind = row("target_behind", WARNING, TARGET, End::Settled).tells(
        "A generation is in place, and nothing is known of the server's turn with it.",
        "Run trustsync sync, and see what it says.",
    ),
    // --- a target's turn, where it is settled ---
    TargetNotProven = row("target_not_proven", WARNING_OR_NOTE, TARGET, End::Settled).means(
        "The server was told, and nothing proves that it took the change.",
        "Configure a proof, or look at the server yourself.",
    ),
    TargetConfirmed = row("target_confirmed", NOTE, TARGET, End::Note).tells(
        "The server serves the generation by the operator's word alone.",
        "Nothing; a proof that can see it would say more.",
    ),
    TargetCaOnly = row("target_ca_only", NOTE, TARGET, End::Note).tells(
        "The server can tell no certificate from another of the same CA.",
        "See that the application behind it compares the certificate.",
    ),
    TargetReloadedInstead = row("target_reloaded_instead", NOTE, TARGET, End::Note).tells(
        "The server could not take the change at run time and was reloaded.",
        "Nothing.",
    ),
    TargetHalfSilent = row("target_half_silent", WARNING, TARGET, End::Settled).means(
        "The server serves what it should, but the privileged half does not answer: the next change would not reach it.",
        "See systemctl status trustsync-apply@TARGET.path, and run sudo trustsync apply TARGET.",
    ),
    TargetAdmitsNobody = row("target_admits_nobody", CRITICAL, TARGET, End::Settled).tells(
        "Envoy refuses every client, since it cannot deny one certificate of a name that it admits.",
        "See trustsync status for what is denied; the next certificate that is polled gets in.",
    ),
    TargetOneByOne = row("target_one_by_one", WARNING, TARGET, End::Settled).means(
        "Envoy admits the listed certificates one by one: a renewed one is refused until it was polled.",
        "Nothing, or end the denial once it is not needed any more.",
    ),
    TargetIssuerAlone = row("target_issuer_alone", NOTE, TARGET, End::Note).tells(
        "Envoy admits whatever the Genesys root has signed.",
        "Nothing: the vendor's page asks for no more.",
    ),
    TargetDenialPartial = row("target_denial_partial", WARNING, TARGET, End::Settled).means(
        "The server cannot refuse some denied certificates, should they bear an admitted name.",
        "Nothing: the denial is whole once the vendor lists the certificate.",
    ),
    Enforcement = row("enforcement", NOTE, TARGET, End::Note).means(
        "What the server's configuration says of the allowlist, or why it could not be seen.",
        "Read the text.",
    ),
    // --- a target's check ---
    CheckUnavailable = row("check_unavailable", WARNING, TARGET, End::Observed).tells(
        "The best check cannot be made here, and a weaker one is made.",
        "Give it root's half (privileged = true), or the capabilities that the text names.",
    ),
    CheckNotJudged = row("check_not_judged", NOTE, TARGET, End::Note).tells(
        "Whether the check looks at our files could not be seen.",
        "Nothing.",
    ),
    CheckBlind = row("check_blind", WARNING, TARGET, End::Observed).tells(
        "The check passes a generation that was broken on purpose: its word counts for nothing.",
        "Have it read the configuration that the server loads, where the server runs; check = [] says there is none.",
    ),
    // --- root's half ---
    AdoptionRefused = row("adoption_refused", CRITICAL, TARGET, End::Settled).means(
        "The privileged half judged by root's own configuration, and did not let this in.",
        "Compare root's configuration with the daemon's; if they agree, ask who writes into the store.",
    ),
    OutcomeNotWritten = row("outcome_not_written", CRITICAL, TARGET, End::Observed)
        .means(
            "The privileged half did its work, and the daemon cannot learn what came of it.",
            "Mend what the text names: a full disk, or the permissions of the privileged path.",
        )
        .fails(Failure::Store),
    ApplyNotSaved = row("apply_not_saved", CRITICAL, TARGET, End::Observed)
        .means(
            "The turn was taken; the next one begins from what the privileged half remembered before.",
            "Mend what the text names: a full disk, or the permissions of the privileged path.",
        )
        .fails(Failure::Store),
    ApplyNotSwept = row("apply_not_swept", WARNING, TARGET, End::Observed).means(
        "Old files of root's stay on the disk. No server reads them, and trust is not concerned.",
        "Remove what the text names, or mend its permissions.",
    ),
);

//! The vendor's world: which certificates exist now, what the listing says of them, and which failures are in force.
//!
//! It advances by its clock whenever it is read: the Upcoming is issued when the window opens and becomes Current when
//! the old Current ends (or on command); the Genesys leaf is renewed without notice a month before its end.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::simulator::crls::{CrlMode, CrlPlace, ListName, Published, Revoke, RevokeError, Revoked};
use crate::simulator::failure::{Endpoint, Failure, Mode};
use crate::simulator::pem_form::PemForm;
use crate::simulator::pki::{ClientCertificate, DAY, LeafRequest, Pki, PkiError, Validity};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;

mod leaves;
mod listing;
mod requests;

use leaves::ending;
use requests::Token;
pub use requests::{RequestCounts, SeenRequest};
pub(super) use requests::{Strike, is_struck, random_text};

/// The vendor's organisation, as in the subjects of its leaves.
const VENDOR: &str = "Simulated Genesys Cloud Services, Inc.";
/// How many requests, tokens and failures are remembered; the oldest go first.
const REMEMBERED: usize = 1_000;
/// The path of the listing.
pub const LISTING_PATH: &str = "/api/v2/integrations/actions/certificates";
/// The path of the token endpoint.
pub const TOKEN_PATH: &str = "/oauth/token";
/// The id of the OAuth client.
pub const CLIENT_ID: &str = "5b7c8f3e-0000-4000-8000-51a71a7ed000";

/// What a vendor is made from. Start from [`VendorOptions::new`].
#[derive(Clone)]
pub struct VendorOptions {
    /// Where HTTPS listens; port 0 takes any.
    pub listen: SocketAddr,
    /// The time of this world.
    pub clock: Arc<dyn Clock>,
    /// The AWS region, for the Genesys root's name.
    pub region: String,
    /// The name in the leaves.
    pub certificate_name: String,
    /// The secret of the OAuth client; none makes one up.
    pub client_secret: Option<String>,
    /// `expires_in` of a token.
    pub token_lifetime: Duration,
    /// The life of a DigiCert leaf.
    pub certificate_lifetime: Duration,
    /// How many days the first Current has left; none: eleven twelfths of its life.
    pub days_left: Option<u32>,
    /// The Upcoming becomes Current when Current has this many days left or fewer (0: when it has ended); none: only by
    /// [`World::rotate`].
    pub rotate_at_days_left: Option<u32>,
    /// What an unfiltered listing shows.
    pub mode: Mode,
    /// How certificates are written.
    pub pem: PemForm,
    /// Whether the Genesys leaf is listed too, as in the vendor's sample.
    pub genesys: bool,
    /// Whether the paging fields carry the host, rather than the path alone as Genesys does.
    pub absolute_uris: bool,
    /// How many listings a client may have in a minute.
    pub rate_limit: u32,
    /// The `Retry-After` of a failure that has one.
    pub retry_after: Duration,
    /// How long [`Failure::SlowHeaders`] waits.
    pub slow: Duration,
    /// How long [`Failure::SlowBody`] waits between two bytes.
    pub drip: Duration,
    /// Where the certificates say that the CRLs are. A running vendor has replaced [`CrlPlace::Vendor`] by the URL.
    pub crls: CrlPlace,
    /// The life of a CRL; the next one is issued after half of it. Short, so that trustsync asks again within a minute
    /// and an outage of the lists shows soon.
    pub crl_lifetime: Duration,
    /// More names for the HTTPS certificate, besides localhost and the loopback addresses.
    pub tls_names: Vec<String>,
}

impl VendorOptions {
    /// The vendor in us-east-1 on any port of 127.0.0.1, certificates of 397 days.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            clock,
            region: "us-east-1".into(),
            certificate_name: "dataactions.prod.us-east-1.mypurecloud.com".into(),
            client_secret: None,
            token_lifetime: DAY,
            certificate_lifetime: DAY.saturating_mul(397),
            days_left: None,
            rotate_at_days_left: Some(0),
            mode: Mode::default(),
            pem: PemForm::default(),
            genesys: true,
            absolute_uris: false,
            rate_limit: 300,
            retry_after: Duration::from_secs(1),
            slow: Duration::from_secs(600),
            drip: Duration::from_millis(250),
            crls: CrlPlace::Vendor,
            crl_lifetime: Duration::from_secs(120),
            tls_names: Vec::new(),
        }
    }

    /// Upcoming is listed when Current has less than this left: 90 days, or half its life where that is shorter.
    fn window(&self) -> Duration {
        DAY.saturating_mul(90).min(self.certificate_lifetime / 2)
    }

    /// The http URL below which the revocation lists are, if there are any.
    pub(super) fn crl_base(&self) -> Option<&str> {
        match &self.crls {
            CrlPlace::At(url) => Some(url),
            CrlPlace::Vendor | CrlPlace::Nowhere => None,
        }
    }
}

named! {
    /// Certificates that are not the vendor's, for those who try to get in. Each name is also that of a file in the
    /// simulator's folder.
    pub enum Impostor("impostor") {
        /// Another leaf of the vendor's own public intermediate, with another name.
        Stranger = "stranger",
        /// Another leaf of the vendor's own public intermediate that even carries the region's name.
        Namesake = "namesake",
        /// Self-signed, with the very subject of the vendor's.
        Twin = "twin",
        /// The region's name, signed by a CA that no configuration names.
        OtherCa = "other-ca",
        /// Once the vendor's; it expired a month ago.
        Expired = "expired",
    }
}

/// A failure in force.
#[derive(Debug, Clone)]
pub struct ActiveFailure {
    /// How the vendor fails.
    pub failure: Failure,
    /// Whose requests it strikes.
    pub endpoint: Endpoint,
    /// How many more requests it strikes; none: all until cleared.
    pub remaining: Option<u64>,
    /// How many it struck, by the status that was asked for.
    answers: BTreeMap<&'static str, u64>,
}

struct State {
    current: ClientCertificate,
    /// What was Current, the latest last.
    retired: VecDeque<ClientCertificate>,
    upcoming: Option<ClientCertificate>,
    genesys: ClientCertificate,
    /// Leaves that are not what the vendor presents, by the name of the impostor who holds one or the failure that
    /// lists it.
    odd: BTreeMap<&'static str, ClientCertificate>,
    /// What is listed besides: certificate strings, each with its status.
    besides: Vec<(&'static str, String)>,
    revoked: BTreeMap<Fingerprint, Revoked>,
    published: BTreeMap<ListName, Published>,
    crls_issued: u64,
    crl_mode: CrlMode,
    mode: Mode,
    pem: PemForm,
    failures: Vec<ActiveFailure>,
    tokens: VecDeque<Token>,
    seen: VecDeque<SeenRequest>,
    counts: RequestCounts,
    minute: Option<(Instant, u32)>,
}

impl State {
    fn succeed(&mut self, next: ClientCertificate) {
        remember(&mut self.retired, std::mem::replace(&mut self.current, next));
    }

    /// The leaf that is to be revoked.
    fn leaf(&self, which: Revoke) -> Option<&ClientCertificate> {
        match which {
            Revoke::Current => Some(&self.current),
            Revoke::Upcoming => self.upcoming.as_ref(),
            Revoke::Previous => self.retired.back(),
            Revoke::Genesys => Some(&self.genesys),
            Revoke::Intermediate => None,
            Revoke::Certificate(sought) => [&self.current, &self.genesys]
                .into_iter()
                .chain(&self.upcoming)
                .chain(&self.retired)
                .chain(self.odd.values())
                .find(|leaf| Fingerprint::of(leaf.der()) == sought),
        }
    }
}

struct Shared {
    options: VendorOptions,
    pki: Pki,
    client_secret: String,
    state: Mutex<State>,
}

fn remember<T>(queue: &mut VecDeque<T>, latest: T) {
    if queue.len() >= REMEMBERED {
        queue.pop_front();
    }
    queue.push_back(latest);
}

/// A handle on the vendor's world; clones share it.
#[derive(Clone)]
pub struct World(Arc<Shared>);

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("region", &self.0.options.region).finish_non_exhaustive()
    }
}

impl World {
    /// A fresh world with a PKI of its own.
    pub fn new(options: VendorOptions) -> Result<Self, PkiError> {
        let now = options.clock.now();
        let pki = Pki::new(&options.region, now, options.crl_base())?;
        let left = match options.days_left {
            Some(days) => DAY.saturating_mul(days),
            None => options.certificate_lifetime / 12 * 11,
        };
        let name = options.certificate_name.as_str();
        let current = LeafRequest::client(name, ending(now, left, options.certificate_lifetime));
        let genesys = LeafRequest::client(name, ending(now, DAY.saturating_mul(200), DAY.saturating_mul(397)));
        let state = State {
            current: pki.digicert_intermediate.issue(VENDOR, &current)?,
            retired: VecDeque::new(),
            upcoming: None,
            genesys: pki.genesys_root.issue(VENDOR, &genesys)?,
            odd: BTreeMap::new(),
            besides: Vec::new(),
            revoked: BTreeMap::new(),
            published: BTreeMap::new(),
            crls_issued: 0,
            crl_mode: CrlMode::default(),
            mode: options.mode,
            pem: options.pem,
            failures: Vec::new(),
            tokens: VecDeque::new(),
            seen: VecDeque::new(),
            counts: RequestCounts::default(),
            minute: None,
        };
        let client_secret = options.client_secret.clone().unwrap_or_else(random_text);
        Ok(Self(Arc::new(Shared { options, pki, client_secret, state: Mutex::new(state) })))
    }

    /// The options that it was made from.
    #[must_use]
    pub fn options(&self) -> &VendorOptions {
        &self.0.options
    }

    /// Its authorities, the vendor's and a stranger's.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.0.pki
    }

    /// The time by its clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.options.clock.now()
    }

    /// The secret of the OAuth client, as given or made up.
    #[must_use]
    pub fn client_secret(&self) -> &str {
        &self.0.client_secret
    }

    /// What the vendor presents now, by DigiCert.
    pub fn current(&self) -> Result<ClientCertificate, PkiError> {
        Ok(self.advanced()?.current.clone())
    }

    /// What the vendor will present, once the window is open.
    pub fn upcoming(&self) -> Result<Option<ClientCertificate>, PkiError> {
        Ok(self.advanced()?.upcoming.clone())
    }

    /// What the vendor presents now, by its own private root.
    pub fn genesys(&self) -> Result<ClientCertificate, PkiError> {
        Ok(self.advanced()?.genesys.clone())
    }

    /// Lets the CA that signed it revoke a certificate, from now on; the vendor lists it all the same.
    pub fn revoke(&self, which: Revoke) -> Result<Fingerprint, RevokeError> {
        let pki = &self.0.pki;
        let mut state = self.advanced()?;
        let (der, issuer) = if which == Revoke::Intermediate {
            (pki.digicert_intermediate.der().to_vec(), Some(pki.digicert_root.der().to_vec()))
        } else {
            let leaf = state.leaf(which).ok_or(RevokeError::Absent(which))?;
            (leaf.der().to_vec(), leaf.with_issuers().into_iter().nth(1))
        };
        let list = ListName::ALL.into_iter().find(|list| Some(list.issuer(pki).der()) == issuer.as_deref());
        let list = list.ok_or(RevokeError::NoList(which))?;
        let fingerprint = Fingerprint::of(&der);
        state.revoked.entry(fingerprint).or_insert(Revoked { list, der, since: self.now() });
        state.published.clear();
        Ok(fingerprint)
    }

    /// Lifts every revocation: the next lists are empty.
    pub fn unrevoke_all(&self) {
        let mut state = self.locked();
        state.revoked.clear();
        state.published.clear();
    }

    /// The certificates that the lists name.
    #[must_use]
    pub fn revoked(&self) -> Vec<Fingerprint> {
        self.locked().revoked.keys().copied().collect()
    }

    /// Sets how the lists are served.
    pub fn set_crl_mode(&self, mode: CrlMode) {
        self.locked().crl_mode = mode;
    }

    /// How the lists are served.
    #[must_use]
    pub fn crl_mode(&self) -> CrlMode {
        self.locked().crl_mode
    }

    /// The list as it is now; a new one is signed when half of its life is over, or after a revocation.
    pub(super) fn published(&self, list: ListName) -> Result<Published, PkiError> {
        let now = self.now();
        let life = self.0.options.crl_lifetime;
        let mut state = self.locked();
        let expired = state.crl_mode == CrlMode::Expired;
        if let Some(known) = state.published.get(&list).filter(|_| !expired)
            && known.since <= now
            && now < known.since.plus(life / 2)
        {
            return Ok(known.clone());
        }
        // The number shows which of two lists of one second is newer.
        let number = state.crls_issued.saturating_add(1);
        let since = if expired { now.minus(life.saturating_mul(2)) } else { now };
        let names = state.revoked.values().filter(|revoked| revoked.list == list);
        let revoked: Vec<_> = names.map(|revoked| (revoked.der.clone(), revoked.since)).collect();
        let der = list.issuer(&self.0.pki).revocation_list(&revoked, number, Validity::of(since, life))?;
        let published = Published { der, since };
        state.crls_issued = number;
        if !expired {
            state.published.insert(list, published.clone());
        }
        Ok(published)
    }

    /// Promotes the Upcoming to Current now; without one, a fresh leaf is Current at once: an unscheduled rotation.
    pub fn rotate(&self) -> Result<(), PkiError> {
        let now = self.now();
        let mut state = self.advanced()?;
        let next = match state.upcoming.take() {
            Some(upcoming) => upcoming,
            None => self.leaf(Validity::of(now, self.0.options.certificate_lifetime))?,
        };
        state.succeed(next);
        self.advance(&mut state, now)
    }

    /// Issues Current anew with `days` left, and with it Upcoming: none outside the window, a fresh one within.
    pub fn set_days_left(&self, days: u32) -> Result<(), PkiError> {
        let now = self.now();
        let mut state = self.locked();
        let validity = ending(now, DAY.saturating_mul(days), self.0.options.certificate_lifetime);
        let fresh = self.leaf(validity)?;
        state.succeed(fresh);
        state.upcoming = None;
        self.advance(&mut state, now)
    }

    /// Issues Upcoming anew with `days` left, even before the window, or ending before Current.
    pub fn set_upcoming_days_left(&self, days: u32) -> Result<(), PkiError> {
        let now = self.now();
        let mut state = self.advanced()?;
        let validity = ending(now, DAY.saturating_mul(days), self.0.options.certificate_lifetime);
        state.upcoming = Some(self.leaf(validity)?);
        Ok(())
    }

    /// Renews the Genesys leaf under the same root and name, without notice.
    pub fn renew_genesys(&self) -> Result<(), PkiError> {
        let mut state = self.locked();
        state.genesys = self.genesys_leaf(self.now())?;
        Ok(())
    }

    /// Fails in this way from now on, for `count` requests to `endpoint` or until [`World::clear`]. A failure that is
    /// in force already is replaced; one that changes the listing's content strikes the listing alone.
    pub fn fail(&self, failure: Failure, endpoint: Endpoint, count: Option<u64>) {
        let mut state = self.locked();
        state.failures.retain(|active| active.failure != failure);
        if count != Some(0) && state.failures.len() < REMEMBERED {
            state.failures.push(ActiveFailure { failure, endpoint, remaining: count, answers: BTreeMap::new() });
        }
    }

    /// Ends every failure, the lists' too.
    pub fn clear(&self) {
        let mut state = self.locked();
        state.failures.clear();
        state.crl_mode = CrlMode::Served;
    }

    /// The failures in force.
    #[must_use]
    pub fn failures(&self) -> Vec<ActiveFailure> {
        self.locked().failures.clone()
    }

    /// Sets what an unfiltered listing shows.
    pub fn set_mode(&self, mode: Mode) {
        self.locked().mode = mode;
    }

    /// What an unfiltered listing shows.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.locked().mode
    }

    /// Sets how certificates are written.
    pub fn set_pem(&self, form: PemForm) {
        self.locked().pem = form;
    }

    /// Lists these certificate strings besides, each with its status, as DigiCert's.
    pub fn list_besides(&self, besides: Vec<(&'static str, String)>) {
        self.locked().besides = besides;
    }

    /// How certificates are written.
    #[must_use]
    pub fn pem(&self) -> PemForm {
        self.locked().pem
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can leave the state half changed.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

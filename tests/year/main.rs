//! A year of the daemon under an injected clock: 8,760 hours against the simulated vendor and an embedded TLS server, with
//! everything that a year may bring, in an order that a seed draws.
//!
//! ```text
//!  script (seed) ─▶ what the vendor does ─▶ ledger: what it has listed, presented, revoked; for how long it could be heard
//!                                              │
//!  the daemon polls when due ─▶ store ─▶ files ┼─▶ each hour: who is on the lists        must, may and must not
//!                                 └─▶ server ──┴─▶ each change: who gets in, by handshakes
//! ```
//! The ledger knows the vendor and the hours alone. Nothing that trustsync says of itself decides who should get in; the files
//! are read here anew, by readers of this file.
//!
//! The seed is printed; `TRUSTSYNC_YEAR_SEED` plays another year.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::privilege;
use tempfile::TempDir;
use trustsync::clock::{Clock, SimulatedClock};
use trustsync::cycle::{self, Clients, Options, PollDue, Session, Turns};
use trustsync::settings::{self, resolved::Settings};
use trustsync::simulator::crls::Revoke;
use trustsync::simulator::failure::{Endpoint, Failure};
use trustsync::simulator::pki::ClientCertificate;
use trustsync::simulator::present::{Admission, present};
use trustsync::simulator::tls_server::TlsServer;
use trustsync::simulator::vendor::Vendor;
use trustsync::simulator::world::{Impostor, VendorOptions, World};
use trustsync::trust::event::severity::Severity;
use trustsync::trust::formats::pem;
use trustsync::trust::plan::overrides::{self, Undistrusted};
use trustsync::trust::plan::planner_state::Hold;
use trustsync::trust::records::summary::StoreSummary;
use trustsync::trust::values::fingerprint::{Fingerprint, hex};
use trustsync::trust::values::said::Said;
use trustsync::trust::values::timestamp::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: i64 = 8_760;
const DAY: i64 = 24;
/// 2027-01-01T00:00:00Z.
const BEGIN: Timestamp = Timestamp::from_unix(1_798_761_600);
const GRACE: i64 = 14 * DAY;

/// By which the daemon polls: as seldom as leaves each hour's check something to find, since cycles take their time.
const SCHEDULE: &str = "interval = \"4h\"\nwindow_interval = \"3h\"\nproof_interval = \"12h\"";
/// Within so many hours of being heard, whatever the vendor lists must have been seen: an interval and its jitter; after an
/// outage the longest backoff, which is an interval and a half, on top of a Retry-After of an hour.
const HEARD: i64 = 7;
/// The same where every other answer lacks it.
const HEARD_FLAPPING: i64 = 12;
/// Within so many hours of clean answers after its grace, what is no longer listed must be gone.
const GONE: i64 = 14;

// --- chance ---

/// SplitMix64: a year can be played again by its seed.
struct Jitter(u64);

impl Jitter {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of these, both included.
    fn between(&mut self, least: i64, most: i64) -> i64 {
        least + i64::try_from(self.next() % u64::try_from(most - least + 1).unwrap()).unwrap()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.next() % u64::try_from(all.len()).unwrap()).unwrap()]
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            let other = usize::try_from(self.next() % u64::try_from(at + 1).unwrap()).unwrap();
            all.swap(at, other);
        }
    }
}

// --- the script ---

/// What the vendor does at an hour.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Presents a fresh leaf with so many days left from now on, unannounced.
    Unannounced(i64),
    /// Announces another leaf instead, with so many days left from now on.
    Announce(i64),
    /// Presents what it has announced.
    Rotate,
    /// Its CA revokes what it presents.
    Revoke,
    /// Does not list its Upcoming, though there is one: none at all, or something odd in its place.
    Hide(Failure),
    Show,
    /// Every other answer lacks something.
    Flap(Failure),
    Steady(Failure),
    /// Its API cannot be had.
    Down(Failure),
    Up,
    /// The operator distrusts what the vendor presents: it was the wrong fingerprint.
    Distrust,
    /// And takes that back.
    Undistrust,
    /// The operator freezes the store for so many hours, and forgets it; or releases it.
    Hold(i64),
    Release,
}

/// What a part of the year is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chapter {
    Regular,
    Late,
    WeeksOfOutage,
    Unscheduled,
    Revoked,
    RevokedWithoutAnother,
    NeverComes,
}

impl Chapter {
    const ALL: [Self; 7] = [
        Self::Regular,
        Self::Late,
        Self::WeeksOfOutage,
        Self::Unscheduled,
        Self::Revoked,
        Self::RevokedWithoutAnother,
        Self::NeverComes,
    ];
}

/// A year: at each hour, what happens.
struct Script {
    acts: BTreeMap<i64, Vec<Act>>,
    chapters: Vec<(i64, Chapter)>,
}

/// What a listing may have in the place of an Upcoming.
const HIDDEN: [Failure; 6] = [
    Failure::EmptyUpcoming,
    Failure::UpcomingStranger,
    Failure::UpcomingWrongName,
    Failure::UpcomingExpired,
    Failure::UpcomingOtherCa,
    Failure::UpcomingCa,
];

const OUTAGES: [Failure; 5] =
    [Failure::Forbidden, Failure::NotFound, Failure::TooManyRequests, Failure::Html, Failure::EmptyEntities];

impl Script {
    /// `life`: of the vendor's leaves, in days.
    fn draw(jitter: &mut Jitter, life: i64) -> Self {
        let mut script = Self { acts: BTreeMap::new(), chapters: Vec::new() };
        // Long enough for a rotation and its grace, short enough for a leaf that was announced half a life before.
        let length = if life < 60 { 28 } else { 45 };
        let mut order: Vec<Chapter> = Vec::new();
        let mut begin = 30;
        while begin + length <= 365 {
            if order.is_empty() {
                order = Chapter::ALL.to_vec();
                jitter.shuffle(&mut order);
            }
            let chapter = order.pop().unwrap();
            script.chapters.push((begin * DAY, chapter));
            script.write(jitter, chapter, begin * DAY, length);
            begin += length;
        }
        script
    }

    fn at(&mut self, hour: i64, act: Act) {
        self.acts.entry(hour).or_default().push(act);
    }

    fn write(&mut self, jitter: &mut Jitter, chapter: Chapter, begin: i64, length: i64) {
        let left = match chapter {
            Chapter::RevokedWithoutAnother => length,
            _ => length / 2 + jitter.between(0, length / 8),
        };
        let end = begin + left * DAY;
        self.at(begin, Act::Unannounced(left));
        match chapter {
            Chapter::Regular => {
                let outage = begin + jitter.between(12, 48);
                self.outage(jitter, outage, 1, 12);
                let mut flaps = [Failure::FlappingUpcoming, Failure::FlappingCurrent];
                jitter.shuffle(&mut flaps);
                for (flap, begin) in flaps.into_iter().zip([outage + DAY, outage + 5 * DAY]) {
                    self.at(begin, Act::Flap(flap));
                    self.at(begin + jitter.between(DAY, 4 * DAY), Act::Steady(flap));
                }
                self.at(end - jitter.between(1, 3 * DAY), Act::Rotate);
                self.operator_errs(jitter, end);
            }
            Chapter::Late => {
                self.at(begin, Act::Hide(jitter.of(&HIDDEN)));
                let shown = end - jitter.between(2 * DAY, 5 * DAY);
                self.at(shown, Act::Show);
                self.at(shown + jitter.between(HEARD_FLAPPING + 1, 47), Act::Rotate);
            }
            Chapter::WeeksOfOutage => {
                // It has announced the next one before; then nobody hears anything until long after the rotation.
                let begins = begin + jitter.between(DAY, 3 * DAY);
                let weeks = (left - 4) * DAY + jitter.between(DAY, 4 * DAY);
                self.outage(jitter, begins, weeks, weeks);
                self.at(end - jitter.between(1, 5 * DAY), Act::Rotate);
            }
            Chapter::Unscheduled => {
                // First one that was announced, though it ends before what is presented; then one that nobody knows.
                self.at(begin, Act::Announce(left - 1));
                let hour = begin + jitter.between(2 * DAY, 10 * DAY);
                self.at(hour, Act::Rotate);
                let hour = hour + jitter.between(HEARD + 1, 2 * DAY);
                self.at(hour, Act::Unannounced(length));
                // In the middle of it, the vendor is down for some hours, and so are those who wait for the new one.
                if jitter.between(0, 1) == 1 {
                    self.outage(jitter, hour, 1, 20);
                }
            }
            Chapter::Revoked => {
                let hour = begin + jitter.between(2 * DAY, 10 * DAY);
                self.at(hour, Act::Revoke);
                self.at(hour + jitter.between(2, 30), Act::Rotate);
            }
            Chapter::RevokedWithoutAnother => {
                self.at(begin, Act::Hide(Failure::EmptyUpcoming));
                // By now what was trusted before has left.
                let hour = begin + GRACE + jitter.between(2 * DAY, 3 * DAY);
                self.at(hour, Act::Revoke);
                let then = hour + jitter.between(HEARD + 1, 30);
                self.at(then, Act::Unannounced(length));
                self.at(then, Act::Show);
            }
            Chapter::NeverComes => {
                // By clean answers, so that what expires is the last that is trusted.
                self.at(begin, Act::Hide(Failure::EmptyUpcoming));
                let then = end + jitter.between(6, 2 * DAY);
                self.at(then, Act::Unannounced(length));
                self.at(then, Act::Show);
            }
        }
    }

    /// After a rotation, while the old leaf is in its grace.
    fn operator_errs(&mut self, jitter: &mut Jitter, begin: i64) {
        let held = begin + jitter.between(0, DAY);
        self.at(held, Act::Hold(60));
        self.at(held + jitter.between(6, 40), Act::Release);
        let distrusted = held + 2 * DAY + jitter.between(0, DAY);
        self.at(distrusted, Act::Distrust);
        let back = distrusted + jitter.between(1, 2 * DAY);
        self.at(back, Act::Undistrust);
        // One that nobody ends.
        self.at(back + DAY, Act::Hold(jitter.between(5, 30)));
    }

    fn outage(&mut self, jitter: &mut Jitter, begin: i64, least: i64, most: i64) {
        self.at(begin, Act::Down(jitter.of(&OUTAGES)));
        self.at(begin + jitter.between(least, most), Act::Up);
    }
}

// --- the ledger ---

/// What is known of a leaf of the vendor's, by what the vendor did.
struct Known {
    leaf: ClientCertificate,
    sha1: String,
    /// For how many hours on end it was listed by a vendor that could be heard.
    heard: i64,
    /// Whether a poll can have seen it.
    may_be_seen: bool,
    /// Whether a poll must have seen it.
    must_be_seen: bool,
    /// The last hour in which it was listed.
    listed: i64,
    /// Since when clean answers go without it.
    absent_since: Option<i64>,
    /// For how many hours it has been revoked.
    revoked: Option<i64>,
    /// Whether the operator distrusts it.
    distrusted: bool,
}

impl Known {
    fn expired(&self, now: Timestamp) -> bool {
        self.leaf.validity().not_after < now
    }
}

#[derive(Default)]
struct Ledger {
    leaves: BTreeMap<Fingerprint, Known>,
    /// For how many hours on end all answers have been clean.
    clean: i64,
    hidden: Option<Failure>,
    down: bool,
    flaps: BTreeSet<Failure>,
    /// The hour at which the operator's hold ends.
    held_until: Option<i64>,
}

impl Ledger {
    /// An hour has passed in which this stood.
    fn pass(&mut self, hour: i64, now: Timestamp, presented: &ClientCertificate, upcoming: Option<&ClientCertificate>) {
        let listed: Vec<&ClientCertificate> =
            std::iter::once(presented).chain(upcoming.filter(|_| self.hidden.is_none())).collect();
        let names: BTreeSet<Fingerprint> = listed.iter().map(|leaf| Fingerprint::of(leaf.der())).collect();
        for leaf in listed {
            self.leaves.entry(Fingerprint::of(leaf.der())).or_insert_with(|| Known {
                leaf: leaf.clone(),
                sha1: sha1(leaf.der()),
                heard: 0,
                may_be_seen: false,
                must_be_seen: false,
                listed: hour,
                absent_since: None,
                revoked: None,
                distrusted: false,
            });
        }
        self.held_until = self.held_until.filter(|end| hour < *end);
        let held = self.held_until.is_some();
        let current = &self.leaves[&Fingerprint::of(presented.der())];
        let odd = self.hidden.is_some_and(|how| how != Failure::EmptyUpcoming);
        // While a hold stands, nothing leaves by absence.
        let is_clean =
            !held && !self.down && !odd && self.flaps.is_empty() && !current.expired(now) && current.revoked.is_none();
        self.clean = if is_clean { self.clean + 1 } else { 0 };
        let needed = if self.flaps.is_empty() { HEARD } else { HEARD_FLAPPING };
        for (name, known) in &mut self.leaves {
            known.revoked = known.revoked.map(|hours| hours + 1);
            if names.contains(name) {
                known.heard = if self.down || held || known.distrusted { 0 } else { known.heard + 1 };
                known.may_be_seen |= !self.down;
                // An expired one is listed, and enters no more.
                known.must_be_seen |= known.heard >= needed && !known.expired(now);
                known.absent_since = None;
                known.listed = hour;
            } else {
                known.heard = 0;
                if is_clean {
                    known.absent_since.get_or_insert(hour);
                }
            }
        }
    }

    /// Whether it must be out by now, whatever the store thinks.
    fn must_be_out(&self, known: &Known, hour: i64, now: Timestamp) -> Option<&'static str> {
        if !known.may_be_seen {
            return Some("the vendor was never heard to list it");
        }
        if known.revoked.is_some_and(|hours| hours > HEARD) {
            return Some("it was revoked");
        }
        if known.distrusted {
            return Some("the operator distrusts it");
        }
        if self.clean >= GONE && known.absent_since.is_some_and(|since| hour - since > GRACE + GONE) {
            return Some("it has not been listed for longer than its grace");
        }
        let hours = u32::try_from(GONE).unwrap();
        (self.clean >= GONE && known.expired(now.minus(HOUR * hours))).then_some("it has expired")
    }

    /// Whether it must be in: from when it was seen until a grace after it was last listed.
    fn must_be_in(known: &Known, hour: i64, now: Timestamp) -> bool {
        let in_grace = hour - known.listed < GRACE;
        known.must_be_seen && known.revoked.is_none() && !known.distrusted && !known.expired(now) && in_grace
    }
}

fn sha1(der: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref())
}

// --- the files ---

/// What the files behind a link say, by readers of our own.
struct Files {
    generation: String,
    /// SHA-256 and SHA-1 of each line of fingerprints.txt.
    pins: BTreeMap<String, String>,
    /// Whom nginx's map denies and admits, by SHA-1, in order.
    admit: Vec<(String, bool)>,
    /// DER of every block of trust-bundle.pem.
    bundle: Vec<Vec<u8>>,
}

impl Files {
    fn parse([list, map, bundle]: &[String; 3]) -> Self {
        let generation = list.lines().next().unwrap().strip_prefix("# trustsync generation ").unwrap();
        let mut pins = BTreeMap::new();
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words.len(), 5, "{line:?}");
            let of = |word: &str, prefix: &str| word.strip_prefix(prefix).unwrap().to_owned();
            pins.insert(of(words[1], "sha256:"), of(words[2], "sha1:"));
        }
        let admit = map.lines().filter(|line| !line.starts_with('#')).map(|line| {
            // "~^SUCCESS\\|<sha1>\\|" "role";
            let sha1 = line.strip_prefix(r#""~^SUCCESS\\|"#).and_then(|rest| rest.get(..40));
            let sha1 = sha1.unwrap_or_else(|| panic!("a line that this test does not know: {line:?}"));
            assert!(sha1.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line:?}");
            let value = line.strip_prefix(&format!(r#""~^SUCCESS\\|{sha1}\\|" ""#)).unwrap();
            (sha1.to_owned(), value.strip_suffix("\";").map(|role| !role.is_empty()).unwrap())
        });
        let admit = admit.collect();
        let blocks: Vec<Vec<u8>> = pem::scan(bundle).into_iter().map(|block| block.bytes.unwrap()).collect();
        assert_eq!(blocks.len(), bundle.matches("-----BEGIN CERTIFICATE-----").count());
        Self { generation: generation.split(' ').next().unwrap().to_owned(), pins, admit, bundle: blocks }
    }

    fn pins(&self, leaf: &ClientCertificate) -> bool {
        self.pins.contains_key(&Fingerprint::of(leaf.der()).to_string())
    }

    /// As nginx reads its map: the first match wins.
    fn nginx_admits(&self, sha1: &str) -> bool {
        self.admit.iter().find(|(of, _)| of == sha1).is_some_and(|(_, admitted)| *admitted)
    }
}

// --- the daemon, hour by hour ---

struct Year {
    seed: u64,
    life: i64,
    world: World,
    clock: SimulatedClock,
    settings: Settings,
    clients: Clients,
    server: TlsServer,
    folder: TempDir,
    ledger: Ledger,
    summary: Option<StoreSummary>,
    /// Who was pinned an hour ago.
    pinned: BTreeSet<String>,
    /// When the next poll is due, and the next turn.
    due: (Timestamp, Timestamp),
    dues: PollDue,
    seen: Seen,
    _vendor: Vendor,
}

/// What the year came to, for those who read the test's output, and so that a year in which nothing happened fails.
#[derive(Debug, Default)]
struct Seen {
    polls: u64,
    failed_polls: u64,
    handshakes: u64,
    changes: u64,
    rotations: u64,
    /// Hours in which the vendor presented what nobody could know yet.
    unknown_hours: i64,
    /// Hours in which it presented what had expired or was revoked.
    hopeless_hours: i64,
    retired: u64,
    deny_all_hours: i64,
    upcoming_missing: bool,
    upcoming_ends_early: bool,
    last_expired: bool,
    revoked: bool,
    /// How often a distrust was taken back, and the leaf pinned again.
    forgiven: u64,
    held_hours: i64,
}

impl Year {
    async fn begin(seed: u64, life: i64) -> Self {
        let clock = SimulatedClock::at(BEGIN);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let mut options = VendorOptions::new(Arc::clone(&shared));
        options.certificate_lifetime = HOUR * u32::try_from(life * DAY).unwrap();
        // Outside the window first, where there is an outside.
        options.days_left = Some(u32::try_from((life - 1).min(110)).unwrap());
        options.rotate_at_days_left = None;
        options.rate_limit = u32::MAX;
        options.retry_after = HOUR;
        options.crl_lifetime = HOUR * 24;
        let vendor = Vendor::start(options).await.unwrap();
        // Every write is fsynced, 20,000 cycles long.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let folder = folder.or_else(|_| TempDir::new()).unwrap();
        let link = folder.path().join("store/target/server");
        let server = TlsServer::start(link, shared).await.unwrap();
        let settings = configure(folder.path(), &vendor, &server);
        let clients = Clients::of(&settings).unwrap();
        let world = vendor.world().clone();
        Self {
            seed,
            life,
            world,
            clock,
            settings,
            clients,
            server,
            folder,
            ledger: Ledger::default(),
            summary: None,
            pinned: BTreeSet::new(),
            due: (BEGIN, BEGIN.plus(HOUR)),
            dues: PollDue::default(),
            seen: Seen::default(),
            _vendor: vendor,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn what(&self, hour: i64) -> String {
        format!("seed {}, life {} d, hour {hour} ({})", self.seed, self.life, self.now())
    }

    async fn live(&mut self, script: &Script) {
        let mut before = None;
        let mut read: Option<([String; 3], Files)> = None;
        for hour in 0..YEAR {
            self.clock.set(BEGIN.plus(HOUR * u32::try_from(hour).unwrap()));
            for act in script.acts.get(&hour).into_iter().flatten() {
                match act {
                    Act::Distrust | Act::Undistrust | Act::Hold(_) | Act::Release => self.operate(*act, hour).await,
                    act => self.act(*act),
                }
            }
            self.work_until(BEGIN.plus(HOUR * u32::try_from(hour + 1).unwrap())).await;
            let presented = self.world.current().unwrap();
            let upcoming = self.world.upcoming().unwrap();
            self.ledger.pass(hour, self.now(), &presented, upcoming.as_ref());
            let folder = self.folder.path().join("store/target/server");
            let text = ["fingerprints.txt", "nginx/admit.map", "trust-bundle.pem"].map(|name| {
                fs::read_to_string(folder.join(name))
                    .unwrap_or_else(|error| panic!("{}: {name}: {error}", self.what(hour)))
            });
            if read.as_ref().is_none_or(|(before, _)| *before != text) {
                let files = Files::parse(&text);
                read = Some((text, files));
            }
            let files = &read.as_ref().unwrap().1;
            self.check_files(hour, files, &presented);
            let valid = self.ledger.leaves.values().filter(|known| !known.expired(self.now())).count();
            let summary = (files.generation.clone(), Fingerprint::of(presented.der()), valid);
            if before.as_ref() != Some(&summary) {
                self.seen.changes += 1;
                self.knock(hour, files, &presented).await;
                before = Some(summary);
            }
            self.note(files);
        }
    }

    fn act(&mut self, act: Act) {
        let world = &self.world;
        match act {
            Act::Unannounced(days) => world.set_days_left(u32::try_from(days.min(self.life)).unwrap()).unwrap(),
            Act::Announce(days) => world.set_upcoming_days_left(u32::try_from(days).unwrap()).unwrap(),
            Act::Rotate => {
                world.rotate().unwrap();
                self.seen.rotations += 1;
            }
            Act::Revoke => {
                let name = world.revoke(Revoke::Current).unwrap();
                self.ledger.leaves.get_mut(&name).unwrap().revoked = Some(0);
            }
            Act::Hide(failure) => {
                world.fail(failure, Endpoint::Listing, None);
                self.ledger.hidden = Some(failure);
            }
            Act::Flap(failure) => {
                world.fail(failure, Endpoint::Listing, None);
                self.ledger.flaps.insert(failure);
            }
            Act::Down(failure) => {
                world.fail(failure, Endpoint::Listing, None);
                self.ledger.down = true;
            }
            Act::Distrust | Act::Undistrust | Act::Hold(_) | Act::Release => unreachable!("the operator's"),
            // One cause ends; the others go on.
            Act::Show | Act::Steady(_) | Act::Up => {
                match act {
                    Act::Show => self.ledger.hidden = None,
                    Act::Steady(failure) => drop(self.ledger.flaps.remove(&failure)),
                    _ => self.ledger.down = false,
                }
                let ended = |failure: Failure| match act {
                    Act::Show => HIDDEN.contains(&failure),
                    Act::Steady(flap) => failure == flap,
                    _ => OUTAGES.contains(&failure),
                };
                let going_on: Vec<Failure> =
                    world.failures().iter().map(|active| active.failure).filter(|failure| !ended(*failure)).collect();
                world.clear();
                going_on.into_iter().for_each(|failure| world.fail(failure, Endpoint::Listing, None));
            }
        }
    }

    /// As the operator's commands do, at the store that the daemon minds.
    async fn operate(&mut self, act: Act, hour: i64) {
        let store = self.settings.stores.values().next().unwrap().clone();
        let options = Options { deadline: Duration::ZERO, lock_timeout: Duration::ZERO, command: "the operator" };
        let mut session = Session::open(&store, &self.clock, &options).unwrap();
        session.said = Said::new("alice (uid 1000)", "it seemed right");
        let presented = Fingerprint::of(self.world.current().unwrap().der());
        let mut planner = session.contents.state.planner.clone();
        let now = self.clock.now();
        match act {
            Act::Distrust => {
                // One that nobody knows yet, nobody distrusts by mistake.
                let Some(known) = self.ledger.leaves.get_mut(&presented) else { return };
                let of = cycle::known_certificate(&store, &session.contents, &presented);
                let Some(digests) = of.map(|known| known.digests) else { return };
                known.distrusted = true;
                assert!(overrides::distrust(&mut planner, presented, digests, session.said.clone(), now));
            }
            Act::Undistrust => {
                let mut distrusted = self.ledger.leaves.iter_mut().filter(|(_, known)| known.distrusted);
                let Some((name, known)) = distrusted.next() else { return };
                assert_eq!(overrides::undistrust(&mut planner, name), Undistrusted::Lifted);
                // From now on it is to be heard again; where it was pinned, it is no longer.
                (known.distrusted, known.must_be_seen, known.heard) = (false, false, 0);
                self.seen.forgiven += 1;
            }
            Act::Hold(hours) => {
                let until = now.plus(HOUR * u32::try_from(hours).unwrap());
                planner.hold = Some(Hold { until, reason: "the operator".to_owned(), said: session.said.clone() });
                self.ledger.held_until = Some(hour + hours);
                self.seen.held_hours += hours;
            }
            _ => {
                planner.hold = None;
                self.ledger.held_until = None;
            }
        }
        let set = session.contents.set.clone();
        let word = format!("{act:?}");
        let mut report = session.act_on_override(&self.settings, planner, &set, &word).await.unwrap();
        session.close_between(&mut report);
        self.due.0 = now;
    }

    /// As the daemon does: it polls when the store says that a poll is due, and in between pays what is owed or due.
    async fn work_until(&mut self, end: Timestamp) {
        loop {
            let (poll, turn) = self.due;
            let next = poll.min(turn).max(self.now());
            if next >= end {
                self.clock.set(end);
                return;
            }
            self.clock.set(next);
            let store = self.settings.stores.values().next().unwrap().clone();
            let answers = if poll <= next {
                let deadline = Duration::from_secs(20);
                let observed = cycle::ask(&self.settings, "us", &mut self.clients, &self.clock, deadline).await;
                self.seen.polls += 1;
                self.seen.failed_polls += u64::from(observed.iter().any(|said| said.failures().next().is_some()));
                let (settings, clients) = (&self.settings, &mut self.clients);
                cycle::gather(settings, &store, clients, observed, &self.clock, deadline).await.unwrap().0
            } else {
                cycle::unasked(&self.settings, &store, &self.clock).unwrap()
            };
            let options = Options { deadline: Duration::ZERO, lock_timeout: Duration::ZERO, command: "the year" };
            let session = Session::open(&store, &self.clock, &options).unwrap();
            let turns = if poll <= next { Turns::All } else { Turns::Due };
            let (_, closed) = cycle::act(&self.settings, session, &answers, turns).await.unwrap();
            self.summary = Some(closed.summary);
            // Nobody else writes here, so that this stands until the next time.
            let now = self.now();
            self.due =
                (self.dues.of(&self.settings, &store, "us", now), cycle::turns_due(&self.settings, &store, self.now()));
        }
    }

    /// Who is on the lists, by the ledger.
    fn check_files(&mut self, hour: i64, files: &Files, presented: &ClientCertificate) {
        let (what, now) = (self.what(hour), self.now());
        for (sha256, sha1) in &files.pins {
            let known = sha256.parse().ok().and_then(|name: Fingerprint| self.ledger.leaves.get(&name));
            let known = known.unwrap_or_else(|| panic!("{what}: {sha256} is pinned, and never was the vendor's"));
            assert_eq!(*sha1, known.sha1, "{what}");
            // The last one stays, in spite of its end or absence; a revoked one never.
            let is_last = files.pins.len() == 1 && known.revoked.is_none() && !known.distrusted && known.may_be_seen;
            if let Some(why) = self.ledger.must_be_out(known, hour, now).filter(|_| !is_last) {
                panic!("{what}: {sha256} is pinned, but {why}");
            }
        }
        for (name, known) in &self.ledger.leaves {
            let pinned = files.pins(&known.leaf);
            assert!(pinned || !Ledger::must_be_in(known, hour, now), "{what}: {name} must be pinned, and is not");
            assert_eq!(files.nginx_admits(&known.sha1), pinned, "{what}: {name}: nginx and fingerprints.txt differ");
        }
        assert!(
            files.admit.iter().all(|(sha1, admitted)| !admitted || files.pins.values().any(|pin| pin == sha1)),
            "{what}"
        );
        // Chain, and marker: nobody else's CA.
        let ours =
            [self.world.pki().digicert_root.der().to_vec(), self.world.pki().digicert_intermediate.der().to_vec()];
        let others = files.bundle.iter().filter(|der| !ours.contains(der)).count();
        assert_eq!(others, 1, "{what}: the bundle has the generation's marker and no other CA");
        let chain = ours.iter().all(|der| files.bundle.contains(der));
        assert_eq!(chain, !files.pins.is_empty(), "{what}: the chain stands there as long as anybody is pinned");

        let names: BTreeSet<String> = files.pins.keys().cloned().collect();
        let was = std::mem::replace(&mut self.pinned, names);
        if files.pins.is_empty() && !was.is_empty() {
            let revoked = |known: &Known| known.revoked.is_some() || known.distrusted;
            let emptied =
                self.ledger.leaves.iter().any(|(name, known)| revoked(known) && was.contains(&name.to_string()));
            assert!(emptied, "{what}: nobody is admitted any more, and nobody was revoked or distrusted");
        }

        let known = &self.ledger.leaves[&Fingerprint::of(presented.der())];
        if known.expired(now) || known.revoked.is_some() || known.distrusted {
            self.seen.hopeless_hours += 1;
        } else if !files.pins(presented) {
            assert!(!known.must_be_seen, "{what}");
            self.seen.unknown_hours += 1;
        }
    }

    /// Everybody knocks, with the key that belongs to the certificate: the list and the dates decide, and nothing else.
    async fn knock(&mut self, hour: i64, files: &Files, presented: &ClientCertificate) {
        let (what, now) = (self.what(hour), self.now());
        let latest: Vec<&Known> = self.ledger.leaves.values().collect();
        // Those of long ago have had their turn.
        let mut cast: Vec<(String, ClientCertificate, bool)> = latest
            .iter()
            .filter(|known| known.leaf.validity().not_after > now.minus(HOUR * 24 * 60))
            .map(|known| {
                let expected = files.pins(&known.leaf) && !known.expired(now);
                (format!("the vendor's {}", Fingerprint::of(known.leaf.der()).short()), known.leaf.clone(), expected)
            })
            .collect();
        assert!(cast.iter().any(|(_, leaf, _)| leaf.der() == presented.der()), "{what}");
        for who in Impostor::ALL {
            cast.push((who.name().to_owned(), self.world.impostor(who).unwrap(), false));
        }
        if self.ledger.hidden.is_some()
            && let Some(upcoming) = self.world.upcoming().unwrap()
            && !self.ledger.leaves.contains_key(&Fingerprint::of(upcoming.der()))
        {
            cast.push(("the upcoming one that was never listed".to_owned(), upcoming, false));
        }
        for (who, leaf, expected) in &cast {
            let admission = present(self.server.address(), Some(leaf)).await;
            let as_expected = match &admission {
                Admission::Admitted { .. } => *expected,
                Admission::Refused { .. } => !expected,
                Admission::Unreachable(_) => false,
            };
            let should = if *expected { "get in" } else { "stay out" };
            assert!(as_expected, "{what}: {who} should {should}: {admission}");
            assert_eq!(admission.generation(), Some(files.generation.as_str()), "{what}: {who}: the server was told");
        }
        let nobody = present(self.server.address(), None).await;
        assert!(matches!(nobody, Admission::Refused { .. }), "{what}: nobody's: {nobody}");
        self.seen.handshakes += u64::try_from(cast.len()).unwrap() + 1;
    }

    fn note(&mut self, files: &Files) {
        self.seen.deny_all_hours += i64::from(files.pins.is_empty());
        self.seen.retired = u64::try_from(self.ledger.leaves.len()).unwrap() - u64::try_from(files.pins.len()).unwrap();
        let alarms = &self.summary.as_ref().unwrap().state.alarms;
        let critical = |event: &str| {
            alarms.iter().any(|(id, alarm)| id.starts_with(event) && alarm.finding.severity == Severity::Critical)
        };
        self.seen.upcoming_missing |= critical("upcoming_missing:");
        self.seen.upcoming_ends_early |= alarms.keys().any(|id| id.starts_with("upcoming_ends_early:"));
        self.seen.last_expired |= critical("current_expired:");
        self.seen.revoked |= critical("certificate_revoked:");
    }
}

fn configure(folder: &Path, vendor: &Vendor, server: &TlsServer) -> Settings {
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    write("api-ca.pem", vendor.ca_pem());
    write("root.pem", &pem::encode("CERTIFICATE", vendor.world().pki().digicert_root.der()));
    let secret = write("client-secret", vendor.client_secret());
    fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = format!(
        r#"
[source.us]
region = "us-east-1"
client_id = "{id}"
client_secret_file = "client-secret"
api = "{api}"
login = "{api}"
ca_file = "api-ca.pem"
digicert_anchors = ["root.pem"]
builtin_anchors = false
[crl]
policy = "soft"
allow_private = true
[schedule]
{SCHEDULE}
[store.main]
path = "store"
grace = "14d"
[target.server]
kind = "nginx"
check = []
reload = {{ http = "{reload}" }}
"#,
        id = vendor.client_id(),
        api = vendor.api_url(),
        reload = server.reload_url(),
    );
    let configuration = write("config.toml", &text);
    settings::read(&configuration, &BTreeMap::new()).unwrap().settings
}

/// Plays the years of these seeds, or of the one in the environment.
fn play(life: i64, seeds: &[u64]) {
    // Each cycle reads the system's roots anew, some three hundred files. The simulated vendor's CA is none of them.
    if std::env::var_os(INNER).is_none() {
        let one = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/trust/anchors/digicert-global-root-g2.pem");
        let none = tempfile::tempdir().unwrap();
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args([&privilege::this_test(), "--exact", "--nocapture"]);
        again.env(INNER, "1").env("SSL_CERT_FILE", one).env("SSL_CERT_DIR", none.path());
        assert!(again.status().unwrap().success(), "see above");
        return;
    }
    let given = std::env::var("TRUSTSYNC_YEAR_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
    for seed in given.map_or_else(|| seeds.to_vec(), |seed| vec![seed]) {
        let begun = Instant::now();
        let script = Script::draw(&mut Jitter(seed), life);
        println!("seed {seed}, leaves of {life} days: {:?}", script.chapters);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seen = runtime.block_on(async {
            let mut year = Year::begin(seed, life).await;
            year.live(&script).await;
            year.seen
        });
        println!("seed {seed}: {:.1} s: {seen:?}", begun.elapsed().as_secs_f64());
        // A year in which nothing was seen shows nothing.
        assert!(seen.polls >= 2_500 && seen.failed_polls > 0 && seen.changes > 20 && seen.handshakes > 200, "{seen:?}");
        assert!(seen.rotations >= 2 && seen.retired >= 6 && seen.deny_all_hours > 0, "{seen:?}");
        assert!(seen.upcoming_missing && seen.last_expired && seen.revoked && seen.hopeless_hours > 0, "{seen:?}");
        assert!(seen.upcoming_ends_early && seen.unknown_hours < 200, "{seen:?}");
        assert!(seen.forgiven > 0 && seen.held_hours > 60, "{seen:?}");
    }
}

const INNER: &str = "TRUSTSYNC_YEAR_INNER";

#[test]
fn a_year_of_397_day_certificates() {
    play(397, &[1]);
}

#[test]
fn a_year_of_90_day_certificates() {
    play(90, &[2]);
}

#[test]
fn a_year_of_47_day_certificates() {
    play(47, &[3]);
}

//! `trustsync demo`: the main job on embedded parts. A simulated vendor with its own PKI, a simulated clock, an
//! embedded TLS server that requires client certificates, and between them the real cycle, through a whole rotation.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use tokio::signal::unix::SignalKind;

use super::Failure;
use crate::clock::{Clock, SimulatedClock, SystemClock};
use crate::cycle::{self, Clients, Options, Report};
use crate::exit::Exit;
use crate::settings;
use crate::signals::Signals;
use crate::simulator::crls::Revoke;
use crate::simulator::folder as simulator;
use crate::simulator::pki::{ClientCertificate, DAY};
use crate::simulator::present::{Admission, present};
use crate::simulator::tls_server::TlsServer;
use crate::simulator::vendor::Vendor;
use crate::simulator::world::{Impostor, VendorOptions};
use crate::trust::turn::Evidence;
use crate::trust::values::fingerprint::{Fingerprint, hex};
use crate::trust::values::timestamp::Timestamp;

/// How long a demo may take before it gives up.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs the demo on standard output; exit 0 if everything was as expected.
pub async fn run() -> Result<Exit, Failure> {
    // Caught from before the folder exists: a demo that is ended early leaves nothing behind either.
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let mut signals = Signals::listen(kinds.map(|kind| ((), kind)))
        .map_err(|error| Failure::Other(format!("signals cannot be caught: {error}")))?;
    let mut out = io::stdout().lock();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let demo = tokio::time::timeout(LIMIT, perform(&mut out, colour, |_| {}));
    let as_expected = tokio::select! {
        done = demo => done.map_err(|_| Failure::Other(format!("the demo did not end within {LIMIT:?}")))??,
        () = signals.next() => {
            return Err(Failure::Other("the demo was cut short by a signal; nothing is left behind".to_owned()));
        }
    };
    Ok(if as_expected { Exit::Done } else { Exit::Unexpected })
}

/// Runs the demo; whether everything was as expected. Nothing is left behind. `meddle` is handed the demo's folder
/// before its configuration is read, and after the cycles of each scene.
pub async fn perform(out: &mut impl Write, colour: bool, meddle: impl Fn(&Path)) -> Result<bool, Failure> {
    let begun = Instant::now();
    let mut stage = Stage::build(&meddle).await?;
    let mut paper = Paper { out, colour, wrong: 0 };
    paper.title(&stage)?;
    for scene in &SCENES {
        stage.enter(scene)?;
        let cycles = stage.cycles(scene).await;
        meddle(&stage.folder.path);
        let cast = stage.cast(scene).await?;
        paper.scene(scene, &stage, &cycles, &cast)?;
    }
    let wrong = paper.wrong;
    paper.ending(begun.elapsed())?;
    stage.strike().await;
    Ok(wrong == 0)
}

/// A scene of the rotation.
struct Scene {
    /// Since the beginning.
    day: u32,
    act: Act,
    title: &'static str,
    story: &'static str,
}

/// What happens in a scene.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    TimePasses,
    VendorSwitches,
    OldOneRetires,
    GraceEnds,
    CaRevokes,
}

const SCENES: [Scene; 6] = [
    Scene {
        day: 0,
        act: Act::TimePasses,
        title: "Outside the window",
        story: "The vendor lists one certificate. It is pinned; others of the same CA stay out.",
    },
    Scene {
        day: 35,
        act: Act::TimePasses,
        title: "The window opens: Upcoming appears",
        story: "Less than 90 days left. The next certificate gets in months before it is needed.",
    },
    Scene {
        day: 100,
        act: Act::VendorSwitches,
        title: "The vendor switches",
        story: "From now on the vendor presents the new one. Not a call is lost.",
    },
    Scene {
        day: 101,
        act: Act::OldOneRetires,
        title: "The old certificate retires",
        story: "Three answers agree that the old one is gone. It stays for its grace of 14 days.",
    },
    Scene {
        day: 115,
        act: Act::GraceEnds,
        title: "The grace ends",
        story: "The old one leaves, although it has not expired yet.",
    },
    Scene {
        day: 350,
        act: Act::CaRevokes,
        title: "The CA revokes the current one",
        story: "Upcoming is in again. Then the CA revokes Current: out at the next poll, months before its end.",
    },
];

impl Act {
    /// How many polls the scene shows, an hour apart: a change of role needs three that agree, and a revocation
    /// something that is trusted.
    fn polls(self) -> u32 {
        if matches!(self, Self::OldOneRetires | Self::CaRevokes) { 2 } else { 1 }
    }
}

/// Everything that the demo runs on.
struct Stage {
    vendor: Vendor,
    server: TlsServer,
    clock: SimulatedClock,
    start: Timestamp,
    settings: settings::resolved::Settings,
    clients: Clients,
    previous: Option<ClientCertificate>,
    folder: Folder,
}

impl Stage {
    async fn build(meddle: impl Fn(&Path)) -> Result<Self, Failure> {
        let start = SystemClock.now();
        let clock = SimulatedClock::at(start);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let mut options = VendorOptions::new(Arc::clone(&shared));
        options.days_left = Some(120);
        options.rotate_at_days_left = None;
        let vendor = Vendor::start(options).await.map_err(Failure::other)?;
        let folder = Folder::create()?;
        let link = folder.path.join("store").join("target").join("server");
        let server = TlsServer::start(link, shared).await.map_err(Failure::other)?;
        let configuration = folder.configure(&vendor, &server)?;
        meddle(&folder.path);
        let settings = settings::read(&configuration, &std::collections::BTreeMap::new())?.settings;
        let clients = Clients::of(&settings)?;
        Ok(Self { vendor, server, clock, start, settings, clients, previous: None, folder })
    }

    fn enter(&mut self, scene: &Scene) -> Result<(), Failure> {
        self.clock.set(self.start.plus(DAY.saturating_mul(scene.day)));
        if scene.act == Act::VendorSwitches {
            let world = self.vendor.world();
            self.previous = Some(world.current().map_err(Failure::other)?);
            world.rotate().map_err(Failure::other)?;
        }
        Ok(())
    }

    /// The real cycle, as often as the scene needs it.
    async fn cycles(&mut self, scene: &Scene) -> Vec<Result<Report, String>> {
        let options = Options {
            deadline: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(1),
            command: "trustsync demo",
        };
        let mut reports = Vec::new();
        let Some(store) = self.settings.stores.values().next() else { return reports };
        for poll in 0..scene.act.polls() {
            if poll > 0 {
                if scene.act == Act::CaRevokes
                    && let Err(error) = self.vendor.world().revoke(Revoke::Current)
                {
                    reports.push(Err(error.to_string()));
                }
                self.clock.set(self.clock.now().plus(Duration::from_secs(3_600)));
            }
            let report = cycle::run(&self.settings, store, &mut self.clients, &self.clock, &options).await;
            reports.push(report.map_err(|error| error.to_string()));
        }
        reports
    }

    /// Everyone tries to connect, with the key that belongs to the certificate.
    async fn cast(&self, scene: &Scene) -> Result<Vec<Part>, Failure> {
        let world = self.vendor.world();
        let current = world.current().map_err(Failure::other)?;
        let upcoming = world.upcoming().map_err(Failure::other)?;
        let stranger = world.impostor(Impostor::Stranger).map_err(Failure::other)?;
        let mut cast = vec![match scene.act {
            Act::CaRevokes => self.part("the current, now revoked", Some(&current), false).await,
            _ => self.part("the vendor's current", Some(&current), true).await,
        }];
        if let Some(upcoming) = &upcoming {
            cast.push(self.part("the upcoming one", Some(upcoming), true).await);
        }
        if let Some(previous) = &self.previous
            && scene.act != Act::CaRevokes
        {
            cast.push(self.part("the previous one", Some(previous), scene.act != Act::GraceEnds).await);
        }
        cast.push(self.part("a stranger of the same CA", Some(&stranger), false).await);
        cast.push(self.part("nobody's (no certificate)", None, false).await);
        Ok(cast)
    }

    async fn part(&self, who: &'static str, certificate: Option<&ClientCertificate>, expected: bool) -> Part {
        let leaf = certificate.map_or_else(String::new, |held| Fingerprint::of(held.der()).short());
        Part { who, leaf, expected, admission: present(self.server.address(), certificate).await }
    }

    async fn strike(self) {
        self.server.stop().await;
        self.vendor.stop().await;
    }
}

/// A client that tries to connect.
struct Part {
    who: &'static str,
    /// The head of the fingerprint, so that the upcoming one is known again when it is current.
    leaf: String,
    expected: bool,
    admission: Admission,
}

impl Part {
    /// No answer is not a refusal.
    fn as_expected(&self) -> bool {
        match self.admission {
            Admission::Admitted { .. } => self.expected,
            Admission::Refused { .. } => !self.expected,
            Admission::Unreachable(_) => false,
        }
    }
}

/// A folder of its own that goes when the demo ends, however it ends.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn create() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let mut random = [0; 8];
        SystemRandom::new().fill(&mut random).map_err(|_| Failure::Other("the system has no randomness".to_owned()))?;
        let path = std::env::temp_dir().join(format!("trustsync-demo-{}", hex(&random)));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            let path = path.display();
            Failure::Other(format!("the demo's folder {path} cannot be made: {error}; name another place by TMPDIR"))
        })?;
        Ok(Self { path })
    }

    /// The vendor's files, and its configuration with the server as a target.
    fn configure(&self, vendor: &Vendor, server: &TlsServer) -> Result<PathBuf, Failure> {
        let path = simulator::Folder::create(&self.path, vendor).map_err(Failure::other)?.configuration();
        let target = format!(
            r#"
[target.server]
kind = "generic"
reload = {{ http = "{reload}" }}
proof = {{ connect = ["{server}"], generation = "header", settle = "60ms", timeout = "2s" }}
"#,
            server = server.address(),
            reload = server.reload_url(),
        );
        OpenOptions::new().append(true).open(&path)?.write_all(target.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The system's temporary folder is swept by others where this fails.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// What the demo prints on.
struct Paper<'a, W: Write> {
    out: &'a mut W,
    colour: bool,
    wrong: u32,
}

impl<W: Write> Paper<'_, W> {
    fn title(&mut self, stage: &Stage) -> io::Result<()> {
        let bold = self.paint("1", "trustsync demo: a whole rotation in fast motion, on this machine alone");
        writeln!(self.out, "{bold}\n")?;
        writeln!(
            self.out,
            "  vendor   a simulated Genesys Cloud at {} (own PKI, HTTPS, OAuth)\n  \
               server   an embedded TLS server at {} that requires client certificates\n  \
               between  the real cycle: fetch, verify, publish, reload, prove; only the clock is simulated",
            stage.vendor.api_url(),
            stage.server.address()
        )?;
        self.out.flush()
    }

    fn scene(
        &mut self,
        scene: &Scene,
        stage: &Stage,
        cycles: &[Result<Report, String>],
        cast: &[Part],
    ) -> io::Result<()> {
        let left = stage
            .vendor
            .world()
            .current()
            .map_or(0, |current| stage.clock.now().days_until(current.validity().not_after));
        let heading = self.paint("1", &format!("day {:>3}  {}", scene.day, scene.title));
        writeln!(self.out, "\n{heading}")?;
        writeln!(self.out, "         {}", scene.story)?;
        writeln!(self.out, "         {} {left} days left of the vendor's certificate", bar(left))?;
        for cycle in cycles {
            self.cycle(cycle)?;
        }
        for part in cast {
            let door = match &part.admission {
                Admission::Admitted { .. } => self.paint("32", "✔ admitted"),
                Admission::Refused { how, .. } => self.paint("33", &format!("✘ refused ({how})")),
                Admission::Unreachable(why) => self.paint("31", &format!("? no answer ({why})")),
            };
            let verdict = if part.as_expected() {
                String::new()
            } else {
                self.wrong = self.wrong.saturating_add(1);
                self.paint("31", "   <- NOT AS EXPECTED")
            };
            let leaf = self.paint("2", &format!("{:<8}", part.leaf));
            writeln!(self.out, "           {:<26} {leaf}  {door}{verdict}", part.who)?;
        }
        self.out.flush()
    }

    fn cycle(&mut self, cycle: &Result<Report, String>) -> io::Result<()> {
        let line = match cycle {
            Ok(report) => {
                let what = if report.committed { "published" } else { "stands, nothing to do" };
                let mut line = format!("generation {:06} {what}", report.generation.unwrap_or(0));
                for target in &report.targets {
                    let is_proven = target.settled == Some(Evidence::Proven);
                    self.wrong = self.wrong.saturating_add(u32::from(!is_proven));
                    line.push_str(&match (&target.settled, &target.owed) {
                        _ if is_proven && target.reloaded => ", server reloaded and proven to serve it".to_owned(),
                        _ if is_proven => ", server proven to serve it".to_owned(),
                        (Some(other), _) => format!(", server: {}", other.words()),
                        (None, Some(owed)) => format!(", reload OWED: {owed}"),
                        (None, None) => ", server: nothing known".to_owned(),
                    });
                }
                self.paint("36", &line)
            }
            Err(error) => {
                self.wrong = self.wrong.saturating_add(1);
                self.paint("31", &format!("the cycle failed: {error}"))
            }
        };
        writeln!(self.out, "         {line}")
    }

    fn ending(&mut self, took: Duration) -> io::Result<()> {
        let seconds = took.as_secs_f32();
        let line = match self.wrong {
            0 => self.paint("32", &format!("Everything was as expected, in {seconds:.1} s. Nothing is left behind.")),
            wrong => self.paint("31", &format!("{wrong} things were NOT as expected.")),
        };
        writeln!(self.out, "\n{line}")?;
        self.out.flush()
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A character for ten days, at most a year and a bit.
fn bar(days: i64) -> String {
    let full = usize::try_from(days / 10).unwrap_or(0).min(40);
    format!("[{}{}]", "#".repeat(full), ".".repeat(40_usize.saturating_sub(full)))
}

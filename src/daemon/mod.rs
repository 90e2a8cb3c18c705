//! `trustsync run`: the same cycle in a loop, for years.
//!
//! ```text
//!  service manager ◀─ ready, status, watchdog ─┐
//!  signals, changed configuration ─▶ daemon ───┤          ┌─ source task: due? ask ──┐ one each
//!                                              └─ engine ─┤                          ▼
//!                                                         └─ store task: act ◀── answers, owed, due, drift
//! ```
//! Everything waits on one beat, and everything that runs has promised by when.

mod configuration;
mod engine;
mod rhythm;
mod said;
mod service_manager;
mod source;
mod store;
mod surroundings;
mod wake;
mod watch;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::SignalKind;
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until};

use crate::clock::Clock;
use crate::cycle::Clients;
use crate::genesys::ClientError;
use crate::report::http::{ListenError, Server};
use crate::report::{Facts, Progress, Summaries, heartbeat};
use crate::settings::SettingsError;
use crate::signals::Signals;
use crate::trust::records::minder::{self, Heartbeat, StoreSeen};
use crate::trust::values::fingerprint::Fingerprint;
pub use configuration::Origin;
use configuration::{Configuration, Stamp};
use engine::Engine;
use rhythm::Rhythm;
use service_manager::{ServiceManager, notify};
pub use source::LEAST_GAP;
pub(crate) use store::longest_turns;
use surroundings::Surroundings;
use watch::Watch;

/// How late a promise may be kept: a busy machine is not our fault.
const SLACK: Duration = Duration::from_secs(60);

/// What a turn under way gets at the end; the service manager waits longer, users do not.
const LAST_TURN: Duration = Duration::from_millis(1_200);

/// What a turn under way gets before a new configuration takes over.
const TURN_BEFORE_RELOAD: Duration = Duration::from_secs(30);

/// Editors and Kubernetes write in several steps.
const SETTLE: Duration = Duration::from_millis(300);

/// How much of the reason for a refused configuration the status line has.
const REASON_SHOWN: usize = 160;

/// What a signal asks for.
#[derive(Debug, Clone, Copy)]
enum Signal {
    /// To end; the signal's name.
    End(&'static str),
    /// To read the configuration again.
    Reload,
    /// To poll now.
    PollNow,
}

/// Why the daemon could not begin.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration's file.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What the configuration names outside: HTTPS roots, anchors.
    #[error("{} names what cannot be used:\n  {}", path.display(), problems.join("\n  "))]
    Outside {
        /// The configuration's file.
        path: PathBuf,
        /// One line each.
        problems: Vec<String>,
    },
    /// A source's client.
    #[error("{0}. Nothing was done; trust is unchanged.")]
    Client(#[from] ClientError),
    /// `[listen]`.
    #[error("{0}. Nothing was done; trust is unchanged.")]
    Listen(#[from] ListenError),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}. Nothing was done; trust is unchanged.")]
    Signals(std::io::Error),
}

/// Works by the configuration until a signal ends it.
pub async fn run(origin: Origin, clock: Arc<dyn Clock>, least_gap: Duration) -> Result<(), DaemonError> {
    let signals = [
        (Signal::End("SIGTERM"), SignalKind::terminate()),
        (Signal::End("SIGINT"), SignalKind::interrupt()),
        (Signal::Reload, SignalKind::hangup()),
        (Signal::PollNow, SignalKind::user_defined1()),
    ];
    let mut signals = Signals::listen(signals).map_err(DaemonError::Signals)?;
    let configuration = origin.read()?;
    let clients = Clients::of(&configuration.settings)?;
    let changed = Arc::new(Notify::new());
    let around = Surroundings {
        clock,
        progress: Progress::default(),
        rhythm: Rhythm::for_watchdog(sd_notify::watchdog_enabled()),
        least_gap,
        watch: Watch::start(),
        news: Arc::new(Notify::new()),
        summaries: Summaries::default(),
        heartbeat: heartbeat::own(),
    };
    let settings = &configuration.settings;
    let facts =
        Facts::new(Arc::clone(&around.clock), around.progress.clone(), around.summaries.clone(), Arc::clone(settings));
    let server = Server::start(settings.listen, facts).await?;
    around.watch.configuration(&origin.path, &changed);
    log_line!(Started, version = env!("CARGO_PKG_VERSION"), "trustsync is at work");
    let engine = Engine::start(&configuration.settings, clients, &around);
    let manager = ServiceManager::default();
    notify(&[NotifyState::Ready]);
    let mut daemon = Daemon {
        origin,
        configuration,
        engine,
        around,
        manager,
        server,
        refused: None,
        stamp: Stamp::new(),
        heartbeat_failed: false,
    };
    daemon.serve(&mut signals, &changed).await;
    notify(&[NotifyState::Stopping]);
    daemon.engine.stop(LAST_TURN).await;
    log_line!(Ended, "ended; what is published stays, and what is owed is taken up at the next start");
    Ok(())
}

struct Daemon {
    origin: Origin,
    configuration: Configuration,
    engine: Engine,
    around: Surroundings,
    manager: ServiceManager,
    server: Server,
    refused: Option<RefusedNow>,
    /// The configuration's files, as they were last looked at.
    stamp: Stamp,
    /// Whether that was said.
    heartbeat_failed: bool,
}

/// A configuration that is not in force.
struct RefusedNow {
    why: String,
    /// What it was read from, so that it is judged once; `None` where it is judged again at each beat.
    read_from: Option<Fingerprint>,
}

impl Daemon {
    /// Serves until a signal ends it.
    async fn serve(&mut self, signals: &mut Signals<Signal>, changed: &Notify) {
        let mut next = self.around.rhythm.next();
        loop {
            self.say_status();
            self.give_heartbeat();
            // Whatever else happens meanwhile, and however often.
            if next <= tokio::time::Instant::now() {
                self.feed_watchdog();
                next = self.around.rhythm.next();
            }
            let flow = tokio::select! {
                signal = signals.next() => match signal {
                    Signal::End(name) => {
                        log_line!(Ending, signal = name, "asked to end");
                        ControlFlow::Break(())
                    }
                    Signal::Reload => self.reload(signals).await,
                    Signal::PollNow => {
                        log_line!(PollNow, "asked to poll now");
                        self.engine.poll_now();
                        ControlFlow::Continue(())
                    }
                },
                () = changed.notified() => tokio::select! {
                    () = sleep(SETTLE) => self.reload_if_changed(signals).await,
                    // The end does not wait for an editor.
                    _ = signals.next_of(|signal| matches!(signal, Signal::End(_))) => {
                        log_line!(Ending, "asked to end");
                        ControlFlow::Break(())
                    }
                },
                () = self.around.news.notified() => ControlFlow::Continue(()),
                () = sleep_until(next) => self.reload_if_changed(signals).await,
            };
            if flow.is_break() {
                return;
            }
        }
    }

    async fn reload_if_changed(&mut self, signals: &mut Signals<Signal>) -> ControlFlow<()> {
        let stamp = self.origin.stamp(&self.configuration.settings);
        let judged = self.refused.as_ref().map(|refused| refused.read_from);
        if std::mem::replace(&mut self.stamp, stamp.clone()) == stamp && judged != Some(None) {
            return ControlFlow::Continue(());
        }
        let seen = self.origin.fingerprint(&self.configuration.settings);
        if seen == self.configuration.read_from {
            if self.refused.take().is_some() {
                self.server.facts().newer_refused(false);
                log_line!(ConfigurationRestored, "the configuration is the one in force again");
            }
            return ControlFlow::Continue(());
        }
        if judged == Some(Some(seen)) {
            return ControlFlow::Continue(());
        }
        self.reload(signals).await
    }

    /// The new configuration takes over, or is refused and the old one stays in force. If it is asked to end meanwhile,
    /// it ends.
    async fn reload(&mut self, signals: &mut Signals<Signal>) -> ControlFlow<()> {
        service_manager::notify_reloading();
        // Before it is read: what is written meanwhile is another one.
        let seen = self.origin.fingerprint(&self.configuration.settings);
        let flow = match self.read().await {
            Ok((configuration, clients)) => self.replace(configuration, clients, signals).await,
            Err(error) => {
                self.refuse(&error, seen);
                ControlFlow::Continue(())
            }
        };
        notify(&[NotifyState::Ready]);
        flow
    }

    async fn read(&mut self) -> Result<(Configuration, Clients), DaemonError> {
        let configuration = self.origin.read()?;
        let clients = Clients::of(&configuration.settings)?;
        // Last, since it is the one step that changes something.
        self.server.move_to(configuration.settings.listen).await?;
        Ok((configuration, clients))
    }

    async fn replace(
        &mut self,
        configuration: Configuration,
        clients: Clients,
        signals: &mut Signals<Signal>,
    ) -> ControlFlow<()> {
        tokio::select! {
            // What is dropped then is ended by the caller.
            () = self.engine.stop(TURN_BEFORE_RELOAD) => {}
            _ = signals.next_of(|signal| matches!(signal, Signal::End(_))) => return ControlFlow::Break(()),
        }
        self.around.summaries.retain(|store| configuration.settings.stores.contains_key(store));
        self.engine = Engine::start(&configuration.settings, clients, &self.around);
        self.server.facts().replaced(Arc::clone(&configuration.settings));
        self.configuration = configuration;
        self.refused = None;
        log_line!(ConfigurationReloaded, "the configuration was read anew and is in force");
        ControlFlow::Continue(())
    }

    fn refuse(&mut self, error: &DaemonError, seen: Fingerprint) {
        let why = error.to_string();
        // What is wrong in the file itself stays wrong until it is written again; a missing volume may come by itself.
        let read_from = matches!(error, DaemonError::Settings(_)).then_some(seen);
        if self.refused.as_ref().is_none_or(|before| before.why != why || before.read_from.is_some()) {
            log_line!(ConfigurationRefused, "the configuration was refused, and the one before stays in force: {why}");
        }
        self.server.facts().newer_refused(true);
        self.refused = Some(RefusedNow { why, read_from });
    }

    fn feed_watchdog(&self) {
        match self.around.progress.stuck() {
            None => notify(&[NotifyState::Watchdog]),
            Some(who) => log_line!(NoProgress, "{who}: the watchdog is not fed"),
        }
    }

    /// For those who ask beside us how a store stands. As with the watchdog: who gets nowhere gives none.
    fn give_heartbeat(&mut self) {
        let Some(path) = self.around.heartbeat.as_ref().filter(|_| self.around.progress.stuck().is_none()) else {
            return;
        };
        let stores = &self.configuration.settings.stores;
        let seen = self.around.summaries.all().into_iter().filter_map(|summary| {
            let path = stores.get(&summary.store)?.path.canonicalize().ok()?;
            let seen = StoreSeen { next_poll: summary.next_poll(), failing: summary.failing };
            Some((path.to_str()?.to_owned(), seen))
        });
        let (version, at) = (env!("CARGO_PKG_VERSION").to_owned(), self.around.clock.now());
        let heartbeat = Heartbeat { schema: minder::SCHEMA, version, at, stores: seen.collect() };
        if let Err(error) = heartbeat::give(path, &heartbeat)
            && !std::mem::replace(&mut self.heartbeat_failed, true)
        {
            log_line!(HeartbeatNotGiven, "no sign of life can be given, and status may call us silent: {error}");
        }
    }

    fn say_status(&mut self) {
        let mut parts = Vec::new();
        if let Some(RefusedNow { why, .. }) = &self.refused {
            let why: String =
                why.lines().map(str::trim).collect::<Vec<_>>().join(" ").chars().take(REASON_SHOWN).collect();
            parts.push(format!("CONFIGURATION REFUSED, the one before is in force: {why}"));
        }
        parts.extend(self.server.facts().lines());
        if parts.is_empty() {
            parts.push("at work, nothing looked at yet".to_owned());
        }
        self.manager.status(&parts.join("; "));
    }
}

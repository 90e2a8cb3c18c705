//! One store's life: act on what its sources said, and between polls on what is owed, due or drifted. All of it is the
//! one cycle; a store has one task, so that nothing of it happens twice at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::said::Said;
use super::surroundings::Surroundings;
use super::wake::Wake;
use crate::clock::Clock;
use crate::cycle::{self, Answers, CycleError, Options, Report, Session, StateStamp, Turns, Unsaved};
use crate::log;
use crate::settings::resolved::{Settings, Store, Target, TurnOrder};
use crate::store::LockError;
use crate::store::contents::Contents;
use crate::targets::process::LAST_GRACE;
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;
use crate::trust::event::subject::Subject;
use crate::trust::records::minder::Minder;
use crate::trust::records::summary::StoreSummary;
use crate::trust::values::timestamp::Timestamp;

/// How often we look whether another writer is done.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// How long we wait for another writer before this is one of our failures, which are said and tried again.
const LOCK_WAITED: Duration = Duration::from_secs(60);

/// Changes come in flocks: an editor, an unpacked backup.
const SETTLE: Duration = Duration::from_millis(500);

/// After a failure of the disk, the next try; doubled each time, up to the proof interval.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// What a source said, for this store.
pub struct Job {
    /// With the revocation lists.
    pub answers: Answers,
    /// Gets whether the result could be kept.
    pub done: oneshot::Sender<bool>,
}

/// A store and its targets.
pub struct StoreTask {
    pub store: Store,
    pub settings: Arc<Settings>,
    pub around: Surroundings,
    pub jobs: mpsc::Receiver<Job>,
    pub touched: Arc<Notify>,
    /// Somebody has written the state.
    pub written: Arc<Notify>,
    pub look_again: Arc<Notify>,
    /// Its sources.
    pub sources: Vec<Arc<Wake>>,
    pub stopping: watch::Receiver<bool>,
    /// What was said, so that a condition that stands is not said with every turn.
    pub said: Said,
    pub failures: u32,
    /// Since when the disk refuses, and why.
    pub failing: Option<(Timestamp, String)>,
    /// What could not be written at the latest look.
    pub unwritable: Vec<Finding>,
    /// What it did not take.
    pub unsaved: Option<Unsaved>,
    /// The newest generation that we have seen.
    pub highest: u64,
    /// The state as we have put it up.
    pub seen: Option<StateStamp>,
}

impl StoreTask {
    /// Acts until it is asked to stop; what has begun is brought to its end.
    pub async fn live(mut self) {
        // What is in place serves, however long the first turn takes.
        if let Ok(summary) = cycle::summary(&self.store)
            && summary.published.is_some()
        {
            self.put(summary);
            self.around.news.notify_one();
        }
        // What a crash or a reboot left: swept, proven first, reloaded again only if unproven.
        let mut next = self.between_polls(Turns::All).await;
        next = self.compare(next).await;
        loop {
            let now = self.around.clock.now();
            // No turn was ever put further ahead: the clock was set back.
            if next.since(now) > self.settings.schedule.proof_interval {
                next = now;
            }
            self.promise("waiting", self.around.rhythm.beat());
            let mut stopping = self.stopping.clone();
            let stopped = async { drop(stopping.wait_for(|stopping| *stopping).await) };
            let look_up = self.around.rhythm.look_up(now, next);
            tokio::select! {
                biased;
                () = stopped => break,
                Some(job) = self.jobs.recv() => {
                    let mut job = job;
                    // What came while a turn was taken is all committed first: then one turn does.
                    while let Ok(later) = self.jobs.try_recv() {
                        self.act_for(job, Turns::Later).await;
                        job = later;
                    }
                    self.act_for(job, Turns::All).await;
                    next = self.next_turn();
                }
                () = self.touched.notified() => {
                    sleep(SETTLE).await;
                    next = self.compare(next).await;
                }
                () = self.written.notified() => {
                    if self.show_what_others_did() {
                        next = self.next_turn();
                    }
                }
                () = self.look_again.notified() => next = self.between_polls(Turns::All).await,
                () = sleep_until(look_up) => next = self.take_what_is_due(next, false).await,
            }
        }
        self.around.progress.release(&self.subject());
    }

    /// Compares what is there with what should be, once the kernel tells of every change: what was changed before, in a
    /// folder that is new, is seen now.
    async fn compare(&mut self, next: Timestamp) -> Timestamp {
        self.watch().await;
        // A turn that is due looks anyway. What we could not do leaves traces of its own: after a failure the time alone
        // decides.
        let is_due = next <= self.around.clock.now();
        let has_drifted = !is_due && self.failures == 0 && self.has_drifted();
        self.take_what_is_due(next, has_drifted).await
    }

    /// The folder may be another one by now, and have new ones in it.
    async fn watch(&self) {
        self.around.watch.store(&self.store.path, &self.touched, &self.written).await;
    }

    /// Takes the turns that are due, or shows what others have done meanwhile; when the next turn is due.
    async fn take_what_is_due(&mut self, next: Timestamp, has_drifted: bool) -> Timestamp {
        if has_drifted || next <= self.around.clock.now() {
            self.between_polls(Turns::Due).await
        } else if self.show_what_others_did() {
            self.next_turn()
        } else {
            self.look_at_the_disk();
            next
        }
    }

    /// Whether the store could be written now, which nobody may have tried for long.
    fn look_at_the_disk(&mut self) {
        let found = cycle::unwritable_now(&self.store);
        if found == self.unwritable {
            return;
        }
        let known = std::mem::replace(&mut self.unwritable, found.clone());
        log::findings(
            &found.iter().filter(|now| known.iter().all(|was| was.event != now.event)).cloned().collect::<Vec<_>>(),
            true,
        );
        self.around.summaries.change(&self.store.name, |summary| {
            summary.found.retain(|finding| !known.contains(finding));
            summary.found.extend(found);
        });
        self.around.news.notify_one();
    }

    fn put(&mut self, mut summary: StoreSummary) {
        summary.failing.clone_from(&self.failing);
        self.around.summaries.put(summary);
    }

    /// The cycle without a poll.
    async fn between_polls(&mut self, turns: Turns) -> Timestamp {
        match cycle::unasked(&self.settings, &self.store, &*self.around.clock) {
            Ok(answers) => drop(self.act(&answers, turns).await),
            Err(error) => self.failed(&error),
        }
        self.next_turn()
    }

    async fn act_for(&mut self, job: Job, turns: Turns) {
        let kept = self.act(&job.answers, turns).await;
        // The source may have been stopped meanwhile.
        let _ = job.done.send(kept);
    }

    /// Whether what came of it could be kept.
    async fn act(&mut self, answers: &Answers, turns: Turns) -> bool {
        let settings = Arc::clone(&self.settings);
        let store = self.store.clone();
        let clock = Arc::clone(&self.around.clock);
        let mut lost = false;
        let acted = match self.open(&store, &*clock).await {
            Ok(mut session) => {
                lost = self.note_loss(&mut session.contents);
                let heartbeat = self.around.heartbeat.as_ref().map(|path| path.display().to_string());
                session.contents.state.minder = Minder::Daemon { heartbeat, one_shots: 0 };
                // All turns, and the disk.
                self.promise("acting", longest_turns(&store).saturating_add(Duration::from_secs(120)));
                cycle::act(&settings, session, answers, turns).await
            }
            Err(error) => Err(error),
        };
        let kept = match acted {
            Ok((report, closed)) => {
                self.say(&report, &closed.summary);
                self.highest = closed.summary.generation();
                self.unsaved = closed.unsaved;
                match &report.trouble {
                    Some(why) => self.note_failure(why),
                    None => (self.failures, self.failing) = (0, None),
                }
                self.unwritable = cycle::unwritable_now(&self.store);
                self.put(StoreSummary { found: self.unwritable.clone(), ..closed.summary });
                self.seen = cycle::state_stamp(&self.store);
                report.trouble.is_none()
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        };
        self.around.news.notify_one();
        if lost {
            // Made anew: the watch is set up again, and the vendor says at once what is to be trusted.
            self.watch().await;
            self.sources.iter().for_each(|source| source.poll.notify_one());
        }
        kept
    }

    /// Opens the store as soon as no other writer has it.
    async fn open<'a>(&self, store: &'a Store, clock: &'a dyn Clock) -> Result<Session<'a>, CycleError> {
        let options = Options { deadline: Duration::ZERO, lock_timeout: Duration::ZERO, command: "trustsync run" };
        let begun = Instant::now();
        loop {
            match Session::reopen(store, clock, &options, self.unsaved.as_ref()) {
                Err(CycleError::Lock(held @ LockError::Held { .. })) => {
                    self.promise("waiting for another writer", LOCK_WAITED);
                    // The source that waits for us has other stores to serve.
                    if begun.elapsed() >= LOCK_WAITED {
                        return Err(CycleError::Lock(held));
                    }
                    sleep(LOCK_POLL).await;
                }
                opened => return opened,
            }
        }
    }

    /// The operator's commands write the state beside us: what they came to is put up. Whether there was anything.
    fn show_what_others_did(&mut self) -> bool {
        let seen = cycle::state_stamp(&self.store);
        if seen == self.seen {
            return false;
        }
        self.seen = seen;
        // What cannot be read, the next cycle says in its own words.
        if let Ok(summary) = cycle::summary(&self.store) {
            self.put(summary);
            self.around.news.notify_one();
        }
        // They may be asked sooner by now.
        self.sources.iter().for_each(|source| source.due.notify_one());
        true
    }

    /// A store that was emptied looks like one that was never born; we know better. Whether it was.
    fn note_loss(&self, contents: &mut Contents) -> bool {
        let generation = contents.state.generation;
        let lost = generation < self.highest;
        if lost {
            let text = format!(
                "The store was at generation {:06} and is at {:06} now: somebody removed what was in it. What it had \
                 denied or held is forgotten: restore it from a backup, or say it again (trustsync distrust).",
                self.highest, generation
            );
            contents.findings.retain(|finding| finding.event != Event::StateLost);
            contents.findings.push(Finding::new(Event::StateLost, Subject::store(&self.store.name), text));
        }
        lost
    }

    fn has_drifted(&self) -> bool {
        let was_emptied = self.highest > 0 && cycle::is_empty(&self.store);
        // What cannot be read, the cycle says in its own words.
        was_emptied || cycle::has_drifted(&self.store).unwrap_or(true)
    }

    fn next_turn(&self) -> Timestamp {
        let now = self.around.clock.now();
        if self.failures > 0 {
            let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(10));
            return now.plus(doubled.min(self.settings.schedule.proof_interval));
        }
        cycle::turns_due(&self.settings, &self.store, now)
    }

    fn failed(&mut self, error: &CycleError) {
        self.note_failure(&error.to_string());
        // What is in place serves, whether we can work on it or not.
        match cycle::summary(&self.store) {
            Ok(summary) => self.put(summary),
            Err(_) => self.around.summaries.fail(&self.store.name, self.failing.clone()),
        }
        log_line!(CycleFailed, store = self.store.name, exit = error.exit() as u8, "{error}");
    }

    /// Has the next try come soon, and then less and less so.
    fn note_failure(&mut self, why: &str) {
        self.failures = self.failures.saturating_add(1);
        let since = self.failing.as_ref().map_or_else(|| self.around.clock.now(), |(since, _)| *since);
        self.failing = Some((since, why.to_owned()));
    }

    /// What is new, and all that goes with a new generation.
    fn say(&mut self, report: &Report, summary: &StoreSummary) {
        let now = Instant::now();
        let is_fresh = |finding: &&Finding| report.committed || !self.said.stands(finding, now);
        let fresh: Vec<Finding> = report.findings.iter().filter(is_fresh).cloned().collect();
        for finding in fresh.iter().filter(|finding| finding.severity > Severity::Note) {
            self.said.note(finding, now);
        }
        let is_over = |id: &str| summary.state.alarms.get(id).is_none_or(|alarm| alarm.unseen);
        self.said.forget(is_over);
        log::cycle(&self.store.name, report, &fresh, tracing::Level::DEBUG);
    }

    fn promise(&self, doing: &'static str, within: Duration) {
        self.around.progress.promise(&self.subject(), doing, within.saturating_add(super::SLACK));
    }

    fn subject(&self) -> String {
        format!("store {}", self.store.name)
    }
}

/// The longest that the turns of a store can take: every target's checks, reload and proof at their limits, and each
/// program's last chance to end by itself.
pub(crate) fn longest_turns(store: &Store) -> Duration {
    let of = |target: &Target| {
        let proof = target.proof.as_ref().map_or(Duration::ZERO, |proof| proof.timeout.saturating_add(proof.settle));
        // The privileged helper may be asked twice, and has to take the request before it works.
        let (checks, reloads) = if target.privileged { (20, 6) } else { (9, 1) };
        let checks = target.check_timeout.saturating_add(LAST_GRACE).saturating_mul(checks);
        let reloads = target.reload_timeout.saturating_add(LAST_GRACE).saturating_mul(reloads);
        let proofs = proof.saturating_add(LAST_GRACE).saturating_mul(3);
        checks.saturating_add(reloads).saturating_add(proofs)
    };
    let turns = store.targets.iter().map(of);
    match store.turns {
        TurnOrder::Parallel => turns.max().unwrap_or_default(),
        TurnOrder::Ordered => turns.fold(Duration::ZERO, Duration::saturating_add),
    }
}

//! One configuration at work: a task a source, a task a store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::said::Said;
use super::source::SourceTask;
use super::store::StoreTask;
use super::surroundings::Surroundings;
use super::wake::Wake;
use crate::cycle::{Clients, PollDue};
use crate::report::Progress;
use crate::settings::resolved::Settings;

/// A configuration at work.
pub struct Engine {
    sources: JoinSet<()>,
    stores: JoinSet<()>,
    stopping: watch::Sender<bool>,
    sources_wake: BTreeMap<String, Arc<Wake>>,
    look_again: Vec<Arc<Notify>>,
    progress: Progress,
    names: Vec<String>,
}

impl Engine {
    /// Sets every source and store to work.
    #[must_use]
    pub fn start(settings: &Arc<Settings>, mut clients: Clients, around: &Surroundings) -> Self {
        let (stopping, stopped) = watch::channel(false);
        let mut engine = Self {
            sources: JoinSet::new(),
            stores: JoinSet::new(),
            stopping,
            sources_wake: settings.sources.keys().map(|name| (name.clone(), Arc::default())).collect(),
            look_again: Vec::new(),
            progress: around.progress.clone(),
            names: Vec::new(),
        };
        let mut inboxes = BTreeMap::new();
        for (name, store) in &settings.stores {
            let (inbox, jobs) = mpsc::channel(store.sources.len().max(1));
            inboxes.insert(name, inbox);
            let look_again = Arc::new(Notify::new());
            engine.look_again.push(Arc::clone(&look_again));
            let sources = store.sources.iter().filter_map(|name| engine.sources_wake.get(name).cloned()).collect();
            engine.names.push(format!("store {name}"));
            let task = StoreTask {
                store: store.clone(),
                settings: Arc::clone(settings),
                around: around.clone(),
                jobs,
                touched: Arc::new(Notify::new()),
                written: Arc::new(Notify::new()),
                look_again,
                sources,
                stopping: stopped.clone(),
                said: Said::default(),
                failures: 0,
                failing: None,
                unwritable: Vec::new(),
                unsaved: None,
                highest: 0,
                seen: None,
            };
            engine.stores.spawn(task.live());
        }
        for name in settings.sources.keys() {
            let having = settings.stores.values().filter(|store| store.sources.contains(name));
            let stores: Vec<_> =
                having.filter_map(|store| Some((store.clone(), inboxes.get(&store.name)?.clone()))).collect();
            if stores.is_empty() {
                continue;
            }
            let Some(wake) = engine.sources_wake.get(name).cloned() else { continue };
            engine.names.push(format!("source {name}"));
            let task = SourceTask {
                name: name.clone(),
                settings: Arc::clone(settings),
                clients: clients.split_off(name),
                around: around.clone(),
                stores,
                dues: PollDue::default(),
                wake,
            };
            engine.sources.spawn(task.live());
        }
        engine
    }

    /// Asks every source now, and has every target take its turn.
    pub fn poll_now(&self) {
        self.look_again.iter().for_each(|store| store.notify_one());
        self.sources_wake.values().for_each(|source| source.poll.notify_one());
    }

    /// Ends: requests are dropped at once, what acts on a store gets this long to come to its end. What is cut off then
    /// was never half-done on the disk, and stays owed.
    pub async fn stop(&mut self, patience: Duration) {
        self.sources.shutdown().await;
        // No receiver is left if all stores have ended.
        let _ = self.stopping.send(true);
        let ended = async { while self.stores.join_next().await.is_some() {} };
        if timeout(patience, ended).await.is_err() {
            log_line!(CutOff, "a turn was cut off: what it owed stays owed and is taken up at the next start");
        }
        self.stores.shutdown().await;
        self.names.iter().for_each(|name| self.progress.release(name));
    }
}

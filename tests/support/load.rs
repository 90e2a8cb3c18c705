//! A crowd of clients, each with one fresh handshake after another as fast as the machine can: what a rotation must not
//! disturb. Most present the certificate that the vendor presents at that moment; every eighth is a stranger.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use trustsync::simulator::pki::ClientCertificate;
use trustsync::simulator::present::{Admission, present_by};
use trustsync::simulator::world::Impostor;

use crate::stage::Stage;

const CLIENTS: usize = 3;

/// A crowd at work.
pub struct Load {
    live: Arc<Mutex<Arc<ClientCertificate>>>,
    done: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    began: Instant,
    clients: Vec<JoinHandle<Vec<Knock>>>,
}

/// One client's one call.
struct Knock {
    is_stranger: bool,
    took: Duration,
    admission: Admission,
}

/// What came of all calls.
#[derive(Debug)]
pub struct Calls {
    /// How many there were of the vendor's, and of strangers.
    pub made: (usize, usize),
    /// The vendor's that were not answered with 2xx, each with what came instead.
    pub failed: Vec<String>,
    /// Strangers that were let in.
    pub strangers_admitted: usize,
    /// In the order of length, of the vendor's.
    pub latencies: Vec<Duration>,
    /// The generations that answers named, where the server shows them.
    pub generations: BTreeSet<String>,
    /// For how long the crowd was at it.
    pub lasted: Duration,
}

impl Load {
    /// Begins to call the server at `address`.
    pub fn begin(address: SocketAddr, live: ClientCertificate, stranger: ClientCertificate) -> Self {
        let live = Arc::new(Mutex::new(Arc::new(live)));
        let stranger = Arc::new(stranger);
        let (done, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let clients = (0..CLIENTS).map(|_| {
            let (live, stranger, done, over) = (live.clone(), stranger.clone(), done.clone(), over.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let mut knocks = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let is_stranger = knocks.len() % 8 == 7;
                    let who = if is_stranger { stranger.clone() } else { live.lock().unwrap().clone() };
                    let version = if knocks.len() % 2 == 0 { &rustls::version::TLS13 } else { &rustls::version::TLS12 };
                    let began = Instant::now();
                    let admission = runtime.block_on(present_by(address, Some(&who), &[version]));
                    knocks.push(Knock { is_stranger, took: began.elapsed(), admission });
                    done.fetch_add(1, Ordering::Relaxed);
                }
                knocks
            })
        });
        let clients = clients.collect();
        Self { live, done, over, began: Instant::now(), clients }
    }

    /// From now on the vendor presents this one.
    pub fn presents(&self, live: ClientCertificate) {
        *self.live.lock().unwrap() = Arc::new(live);
    }

    /// Waits until so many more calls have come to their end.
    pub async fn calls(&self, more: usize) {
        let goal = self.done.load(Ordering::Relaxed) + more;
        while self.done.load(Ordering::Relaxed) < goal {
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client has panicked");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the crowd.
    pub fn end(self) -> Calls {
        self.over.store(true, Ordering::Relaxed);
        let knocks: Vec<Knock> = self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        let lasted = self.began.elapsed();
        let (strangers, live): (Vec<_>, Vec<_>) = knocks.iter().partition(|knock| knock.is_stranger);
        let mut latencies: Vec<Duration> = live.iter().map(|knock| knock.took).collect();
        latencies.sort();
        let failed = live.iter().filter(|knock| !knock.admission.is_admitted());
        Calls {
            made: (live.len(), strangers.len()),
            failed: failed.map(|knock| knock.admission.to_string()).collect(),
            strangers_admitted: strangers.iter().filter(|knock| knock.admission.is_admitted()).count(),
            latencies,
            generations: knocks.iter().filter_map(|knock| knock.admission.generation()).map(str::to_owned).collect(),
            lasted,
        }
    }
}

/// A whole rotation under load, of a stage whose one target serves its first generation: the upcoming certificate is
/// published, presented, and the old one retired, each with the target's turn; many calls come before, between and after.
pub async fn rotate_under_load(stage: &mut Stage, address: SocketAddr) -> Calls {
    const BETWEEN: usize = 150;
    let stranger = stage.world().impostor(Impostor::Stranger).unwrap();
    let load = Load::begin(address, stage.world().current().unwrap(), stranger);
    let settled = async |stage: &mut Stage| {
        let report = stage.cycle().await;
        assert!(report.targets.iter().all(|target| target.owed.is_none()), "{report:?}");
        load.calls(BETWEEN).await;
    };
    load.calls(BETWEEN).await;
    stage.on_day(45);
    settled(stage).await;
    stage.on_day(100);
    stage.world().rotate().unwrap();
    load.presents(stage.world().current().unwrap());
    for _ in 0..3 {
        settled(stage).await;
        stage.an_hour_later();
    }
    stage.on_day(116);
    settled(stage).await;
    load.end()
}

impl Calls {
    /// Nobody was lost, and no stranger let in.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.made.0 > 0 && self.made.1 > 0, "{self}");
        assert_eq!(self.failed, Vec::<String>::new(), "{self}");
        assert_eq!(self.strangers_admitted, 0, "{self}");
    }

    fn at(&self, share: f64) -> Duration {
        let place = (self.latencies.len() as f64 * share) as usize;
        self.latencies[place.min(self.latencies.len() - 1)]
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (live, strangers) = self.made;
        write!(
            f,
            "{live} calls and {strangers} of strangers in {:.1} s ({:.0} a second): {} failed, {} strangers let in; \
             median {:.1} ms, 99 of 100 within {:.1} ms, longest {:.1} ms; generations seen: {}",
            self.lasted.as_secs_f64(),
            (live + strangers) as f64 / self.lasted.as_secs_f64(),
            self.failed.len(),
            self.strangers_admitted,
            self.at(0.5).as_secs_f64() * 1e3,
            self.at(0.99).as_secs_f64() * 1e3,
            self.at(1.0).as_secs_f64() * 1e3,
            self.generations.len(),
        )
    }
}

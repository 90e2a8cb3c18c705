//! The moment before a rotation, to be played again and again with the real binary: a vendor whose window is open, a store
//! that still has the generation before it, a server that serves that one.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use trustsync::clock::{Clock, SystemClock};
use trustsync::simulator::control::OffsetClock;
use trustsync::simulator::pki::ClientCertificate;
use trustsync::simulator::present::{Admission, present};
use trustsync::simulator::tls_server::TlsServer;
use trustsync::simulator::vendor::Vendor;
use trustsync::simulator::world::{Impostor, VendorOptions, World};
use trustsync::trust::records::manifest::Manifest;
use trustsync::trust::values::fingerprint::Fingerprint;
use trustsync::trust::values::timestamp::Timestamp;

use crate::program;

/// How long the vendor takes where it is made slow: longer than a few commands of an operator on a busy machine.
pub const SLOW: Duration = Duration::from_secs(10);

/// How many days before the rotation begins the first generation was made.
const DAYS_BEFORE: u32 = 40;

/// Everything around the store. Vendor and server live in a thread of their own until this is dropped.
pub struct Stage {
    pub dir: TempDir,
    pub store: PathBuf,
    pub world: World,
    pub server: SocketAddr,
    pub reloads: Reloads,
    clock: OffsetClock,
    ends: Option<(tokio::sync::oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Stage {
    /// With the store in a folder of its own, and the embedded server as its target.
    pub fn new() -> Self {
        Self::with_store_at(|dir| dir.join("store"))
    }

    pub fn with_store_at(store: impl FnOnce(&Path) -> PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A user that owns nothing must be able to read the configuration.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let store = store(&dir.path().canonicalize().unwrap());
        let clock = OffsetClock::default();
        let before = SystemClock.now().minus(Duration::from_secs(86_400) * DAYS_BEFORE);
        clock.set(before);
        let (told, hear) = mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let link = store.join("target/server");
        let vendors = clock.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut options = VendorOptions::new(Arc::new(vendors));
                options.days_left = Some(120);
                options.rotate_at_days_left = None;
                options.rate_limit = 100_000;
                options.slow = SLOW;
                let vendor = Vendor::start(options).await.unwrap();
                let server = TlsServer::start(link, Arc::new(SystemClock)).await.unwrap();
                let said = (vendor.world().clone(), vendor.api_url(), vendor.ca_pem().to_owned());
                told.send((said, server.address(), server.reload_url())).unwrap();
                let _ = ended.await;
            });
        });
        let ((world, api, ca), server, reload) = hear.recv().unwrap();
        let reloads = Reloads::start(&reload);
        let stage = Self { dir, store, world, server, reloads, clock, ends: Some((end, thread)) };
        stage.write("api-ca.pem", &ca);
        let root = trustsync::trust::formats::pem::encode("CERTIFICATE", stage.world.pki().digicert_root.der());
        stage.write("digicert-root.pem", &root);
        stage.write("client-secret", stage.world.client_secret());
        let secret = stage.dir.path().join("client-secret");
        fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        stage.write(
            "extra.pem",
            &trustsync::trust::formats::pem::encode("CERTIFICATE", stage.world.pki().other_root.der()),
        );
        stage.write("api", &api);
        stage.configure(&stage.embedded_target());
        stage
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// The embedded server as a target.
    pub fn embedded_target(&self) -> String {
        format!(
            "[target.server]\nkind = \"generic\"\nreload = {{ http = \"{}\" }}\nproof = {{ connect = [\"{}\"], \
             generation = \"header\", settle = \"20ms\", timeout = \"2s\" }}\n",
            self.reloads.url(),
            self.server
        )
    }

    /// Writes the configuration with these targets.
    pub fn configure(&self, targets: &str) {
        let api = fs::read_to_string(self.dir.path().join("api")).unwrap();
        let text = format!(
            "[source.demo]\nregion = \"us-east-1\"\nclient_id = \"{id}\"\nclient_secret_file = \"client-secret\"\napi \
             = \"{api}\"\nlogin = \"{api}\"\nca_file = \"api-ca.pem\"\ndigicert_anchors = \
             [\"digicert-root.pem\"]\nbuiltin_anchors = false\n[crl]\npolicy = \"off\"\n[store.main]\npath = \"{store}\"\ngrace = \
             \"14d\"\nkeep = 2\nextra_anchors = [\"extra.pem\"]\n{targets}",
            id = trustsync::simulator::world::CLIENT_ID,
            store = self.store.display(),
        );
        self.write("config.toml", &text);
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    /// The real binary with these arguments, umask 077: modes are right because we set them, or not at all.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(program()).arg("--config").arg(self.config());
        command.args(arguments);
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    pub fn sync(&self) -> Ran {
        self.run(&["sync"])
    }

    /// The vendor's window opens: Upcoming is listed from now on.
    pub fn open_window(&self) {
        self.clock.set(SystemClock.now());
        assert!(self.world.upcoming().unwrap().is_some());
    }

    /// Makes generations 1 and 2, which differ in the roots of other clients. As two are kept, there is one to be swept when
    /// the third comes. Then the window opens.
    pub fn up_to_the_rotation(&self) {
        self.sync().expect(0);
        self.write(
            "extra.pem",
            &trustsync::trust::formats::pem::encode("CERTIFICATE", self.world.pki().genesys_root.der()),
        );
        self.sync().expect(0);
        assert_eq!(self.linked("current"), Some(2));
        self.open_window();
        self.keep("before");
    }

    /// Copies the store aside.
    pub fn keep(&self, name: &str) {
        copy(&self.store, &self.dir.path().join(name));
    }

    /// Puts a copy back, and lets the server serve it.
    pub fn restore(&self, name: &str) {
        self.clear();
        copy(&self.dir.path().join(name), &self.store);
        self.reloads.settle();
        self.reloads.forward();
        self.reloads.count.store(0, Ordering::SeqCst);
    }

    /// Removes the store.
    pub fn clear(&self) {
        for path in [self.store.clone(), self.store.with_file_name(".store.new")] {
            if path.exists() {
                fs::remove_dir_all(path).unwrap();
            }
        }
    }

    /// The number of the generation that a link names.
    pub fn linked(&self, link: &str) -> Option<u64> {
        let target = fs::read_link(self.store.join(link)).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    pub fn present(&self, who: &ClientCertificate) -> Admission {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(present(self.server, Some(who)))
    }

    /// The embedded server itself admits the vendor's certificates, and no stranger.
    pub fn assert_served(&self, generation: u64, upcoming: bool) {
        let name = format!("{generation:06}");
        let admission = self.present(&self.world.current().unwrap());
        assert!(admission.is_admitted(), "{admission:?}");
        assert_eq!(admission.generation(), Some(name.as_str()), "{admission:?}");
        let admission = self.present(&self.world.upcoming().unwrap().unwrap());
        assert_eq!(admission.is_admitted(), upcoming, "{admission:?}");
        assert!(!self.present(&self.world.impostor(Impostor::Stranger).unwrap()).is_admitted());
    }

    pub fn state(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.store.join("state.json")).unwrap()).unwrap()
    }

    /// Every line of evidence: event and generation.
    pub fn evidence(&self) -> Vec<(String, u64)> {
        let text = fs::read_to_string(self.store.join("evidence.jsonl")).unwrap();
        assert!(text.ends_with('\n'), "{text}");
        let line = |line: &str| -> (String, u64) {
            let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            (value["event"].as_str().unwrap().to_owned(), value["generation"].as_u64().unwrap())
        };
        text.lines().map(line).collect()
    }

    /// Nothing half-made anywhere.
    pub fn assert_no_leftovers(&self) {
        let known: BTreeSet<&str> = ["current", "target", "generations", "evidence.jsonl", "state.json", "lock"].into();
        for name in names(&self.store) {
            assert!(known.contains(name.as_str()), "{name} was left behind");
        }
        for directory in ["generations", "target"] {
            for name in names(&self.store.join(directory)) {
                assert!(!name.starts_with('.'), "{directory}/{name} was left behind");
            }
        }
        let beside = names(self.store.parent().unwrap());
        assert!(!beside.contains(".store.new"), "{beside:?}");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.ends.take() {
            let _ = end.send(());
            let _ = thread.join();
        }
    }
}

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "not said: {word:?} in\n{}", self.err);
        }
        self
    }

    #[track_caller]
    pub fn says_not(self, words: &[&str]) -> Self {
        for word in words {
            assert!(!self.err.contains(word), "said: {word:?} in\n{}", self.err);
        }
        self
    }
}

/// It looked, and told of the generation before the rotation. (A warning: the vendor's clock was weeks behind then.)
#[track_caller]
pub fn assert_status_looks(ran: &Ran) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("generation 000002") && ran.out.contains("clocks_disagree"), "{ran:?}");
}

/// Stands between trustsync and the server's admin listener, and counts.
pub struct Reloads {
    address: SocketAddr,
    admin: String,
    count: Arc<AtomicU32>,
}

impl Reloads {
    fn start(reload_url: &str) -> Self {
        let admin = reload_url.trim_start_matches("http://").trim_end_matches("/reload").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicU32::new(0));
        let (counted, to) = (Arc::clone(&count), admin.clone());
        // One after the other, so that who is answered knows that all before were done.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.extend_from_slice(&byte);
                }
                if head.starts_with(b"POST") && head.ends_with(b"\r\n\r\n") {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(&forward(&to));
                }
            }
        });
        Self { address, admin, count }
    }

    pub fn url(&self) -> String {
        format!("http://{}/reload", self.address)
    }

    /// Waits for whatever a killed process may have asked for.
    pub fn settle(&self) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let _ = stream.read(&mut [0]);
    }

    /// Reloads the server, uncounted.
    pub fn forward(&self) {
        forward(&self.admin);
    }

    pub fn count(&self) -> u32 {
        self.settle();
        self.count.load(Ordering::SeqCst)
    }

    pub fn forget(&self) {
        self.settle();
        self.count.store(0, Ordering::SeqCst);
    }
}

fn forward(to: &str) -> Vec<u8> {
    let mut admin = TcpStream::connect(to).unwrap();
    let ask = format!("POST /reload HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    admin.write_all(ask.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = admin.read_to_end(&mut answer);
    answer
}

/// Copies a folder with its links and modes.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
}

pub fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What a reader finds behind `link`: nothing, or a generation of which every file, and no other, is as its manifest says.
/// Yields its number.
#[track_caller]
pub fn assert_whole(link: &Path) -> Option<u64> {
    if !link.is_symlink() {
        return None;
    }
    let at = link.canonicalize().unwrap_or_else(|error| panic!("{} dangles: {error}", link.display()));
    let manifest = Manifest::read(&fs::read(at.join("manifest.json")).unwrap()).unwrap();
    let mut expected: BTreeSet<PathBuf> = manifest.files.keys().map(|path| at.join(path)).collect();
    for (path, digest) in &manifest.files {
        let bytes = fs::read(at.join(path)).unwrap();
        assert!(!bytes.is_empty(), "{path} is empty");
        assert_eq!(Fingerprint::of(&bytes), *digest, "{path}");
    }
    expected.insert(at.join("manifest.json"));
    let mut found = BTreeSet::new();
    walk(&at, &mut found);
    assert_eq!(found, expected);
    Some(manifest.generation)
}

fn walk(directory: &Path, found: &mut BTreeSet<PathBuf>) {
    assert_eq!(fs::metadata(directory).unwrap().mode() & 0o7777, 0o755, "{}", directory.display());
    for name in names(directory) {
        let path = directory.join(name);
        if path.is_dir() {
            walk(&path, found);
        } else {
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644, "{}", path.display());
            found.insert(path);
        }
    }
}

/// The present moment, for messages.
pub fn now() -> Timestamp {
    SystemClock.now()
}

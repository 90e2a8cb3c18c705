//! Apache's check: a real start, since its own test reads neither certificates nor CRLs and a bad one ends the server.
//!
//! ```text
//!  unshare mount, network, processes, IPC ─▶ bind NEW over OLD ─▶ a tmpfs for what it would write ─▶ start
//!     ─▶ its pid file appears: it has loaded everything, and would serve ─▶ end it; the namespaces end with it
//! ```
//! It binds its ports in a network of its own, where every address may be bound, and nobody can reach it. What it writes where
//! it logs, it writes.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Outcome, run_in_view};
use crate::targets::process::{Environment, RunError};

/// `$1` is an empty folder for our use, `$2` is bound over `$3` unless it is empty, the rest starts the server.
///
/// Apache's own options come last and win: a pid file, runtime folder and log of its own, and no session cache, whose file
/// the running server may have at the same place. Folders that other modules write to by their full names are covered.
const START: &str = r#"room=$1 new=$2 old=$3
shift 3
mount -t tmpfs -o mode=0755 trustsync "$room" || exit 1
if [ -n "$new" ]; then mount --bind -- "$new" "$old" || exit 1; fi
mkdir "$room/run" "$room/covers" || exit 1
number=0
for folder in /run/apache2 /run/httpd /run/lock/apache2; do
    [ -d "$folder" ] || continue
    number=$((number + 1))
    cover=$room/covers/$number
    mkdir "$cover" "$cover/upper" "$cover/work"
    mount -t overlay -o "lowerdir=$folder,upperdir=$cover/upper,workdir=$cover/work" trustsync "$folder" 2>/dev/null ||
        mount -t tmpfs -o mode=0755 trustsync "$folder" || exit 1
done
for family in ipv4 ipv6; do
    setting=/proc/sys/net/$family/ip_nonlocal_bind
    [ -e "$setting" ] || continue
    (echo 1 >"$setting") 2>/dev/null || { mount -t proc proc /proc && echo 1 >"$setting"; }
done
printf '%s\n' 'trustsync: the private view stands'
"$@" -D FOREGROUND -c "PidFile $room/pid" -c "ErrorLog $room/log" -c "DefaultRuntimeDir $room/run" \
    -c '<IfModule ssl_module>' -c 'SSLSessionCache none' -c '</IfModule>' &
server=$!
while [ ! -s "$room/pid" ] && kill -0 "$server" 2>/dev/null; do sleep 0.02; done
if [ -s "$room/pid" ]; then
    sleep 0.05
    if kill -0 "$server" 2>/dev/null; then
        kill -TERM "$(cat "$room/pid")" 2>/dev/null
        tries=0
        while kill -0 "$server" 2>/dev/null && [ "$tries" -lt 100 ]; do sleep 0.02; tries=$((tries + 1)); done
        exit 0
    fi
fi
wait "$server"
code=$?
cat "$room/log" 2>/dev/null
# A virtual host with a log of its own has its reason there.
sed -n 's/.* See \(\/.*\) for more information.*/\1/p' "$room/log" 2>/dev/null | sort -u | while read -r log; do
    tail -n 4 "$log"
done
[ "$code" -ne 126 ] && [ "$code" -ne 127 ] || exit "$code"
echo "it ended by itself (exit code $code) before it came to serve"
exit 1"#;

/// Starts the server in private, with the first of these folders where the second stands, and ends it once it would serve.
pub(super) async fn judge(
    argv: &[String],
    bound: Option<(&str, &str)>,
    environment: &Environment,
    limit: Duration,
) -> Outcome {
    if argv.is_empty() {
        return Outcome::CouldNotRun(RunError::Empty.to_string());
    }
    if !rustix::process::geteuid().is_root() {
        return Outcome::PrivateUnavailable("a start in namespaces of its own needs root".to_owned());
    }
    let room = match Room::new() {
        Ok(room) => room,
        Err(why) => return Outcome::PrivateUnavailable(why),
    };
    let mut wrapped: Vec<String> = ["unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child"]
        .into_iter()
        .chain(["--propagation", "private", "--", "sh", "-c", START, "sh"])
        .map(String::from)
        .collect();
    let (new, old) = bound.unwrap_or_default();
    wrapped.extend([room.path().to_string_lossy().into_owned(), new.to_owned(), old.to_owned()]);
    wrapped.extend_from_slice(argv);
    run_in_view(&wrapped, environment, limit, "no namespaces of its own with the new files over the old").await
}

/// An empty folder, removed at the end.
pub(super) struct Room(PathBuf);

impl Room {
    pub(super) fn new() -> Result<Self, String> {
        let chance = ring::rand::generate::<[u8; 8]>(&ring::rand::SystemRandom::new())
            .map(|bytes| u64::from_be_bytes(bytes.expose()))
            .map_err(|_| "no randomness for the name of a folder".to_owned())?;
        let path = std::env::temp_dir().join(format!("trustsync-check-{chance:016x}"));
        match DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) => Err(format!("{} could not be made: {error}", path.display())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! Apache's check: a real start, since its own test reads neither certificates nor CRLs and a bad one ends the server.
//!
//! ```text
//!  unshare mount, network, processes, IPC ─▶ bind NEW over OLD ─▶ a tmpfs for what it would write ─▶ start
//!     ─▶ its pid file appears: it has loaded everything, and would serve ─▶ end it; the namespaces end with it
//! ```
//! It binds its ports in a network of its own, where every address may be bound, and nobody can reach it. What it
//! writes where it logs, it writes.

use crate::targets::ways::Start;

/// The start, and the test that is left where no start can be made.
pub const START: Start = Start {
    script: SCRIPT,
    test: "-t",
    tests: &["-t", "-S", "configtest"],
    misses: "reads neither certificates nor keys nor CRLs, and a bad one of these ends the server at its reload",
};

/// Apache's own options come last and win: a pid file, runtime folder and log of its own, and no session cache, whose
/// file the running server may have at the same place. Folders that other modules write to by their full names are
/// covered.
const SCRIPT: &str = r#"room=$1 new=$2 old=$3
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

# shellcheck shell=bash
# shellcheck disable=SC2154 # what the driver and machine.bash set
# shellcheck disable=SC2016 # conditions are evaluated anew at each look
# shellcheck disable=SC2034,SC2317 # in conditions
#
# What must hold under a real systemd. Each scenario has a machine of its own, switched off, as $root.

store=/var/lib/trustsync
theirs=/var/lib/trustsync-targets

# ---- The parts ------------------------------------------------------------------------------------------------------------

# Boots, with our units installed as the README says.
machine_with_units() {
    install -d "$root"/etc/{sysusers.d,tmpfiles.d}
    install -m 0644 systemd/trustsync.sysusers "$root/etc/sysusers.d/trustsync.conf"
    install -m 0644 systemd/trustsync.tmpfiles "$root/etc/tmpfiles.d/trustsync.conf"
    install -m 0644 systemd/*.service systemd/*.timer systemd/*.path "$root/etc/systemd/system/"
    power_on
    inside systemd-sysusers trustsync.conf
    inside systemd-tmpfiles --create trustsync.conf
}

# The vendor, in the same machine, and a configuration for it whose secret is root's. More lines of it come as arguments.
machine_with_vendor() { # [LINE...]
    cat >"$root/etc/systemd/system/vendor.service" <<'UNIT'
[Service]
ExecStart=/usr/local/bin/trustsync simulate --folder /var/lib/vendor --listen 127.0.0.1:9443 --control 127.0.0.1:9080 --rotate-by-hand --days-left 200
UNIT
    machine_with_units
    inside systemctl start vendor
    eventually 60 "the vendor serves" inside curl -fsS http://127.0.0.1:9080/state
    local vendor=$root/var/lib/vendor
    install -m 0644 "$vendor/api-ca.pem" "$vendor/digicert-root.pem" "$root/etc/trustsync/"
    install -m 0600 "$vendor/client-secret" "$root/etc/trustsync/client-secret"
    {
        cat <<'TOML'
[source.us]
region = "us-east-1"
client_secret_file = "/etc/trustsync/client-secret"
digicert_anchors = ["/etc/trustsync/digicert-root.pem"]
ca_file = "/etc/trustsync/api-ca.pem"
TOML
        grep -E '^(client_id|api|login) = ' "$vendor/trustsync.toml"
        printf '[crl]\nallow_private = true\n'
        printf '%s\n' "$@"
    } >"$root/etc/trustsync/config.toml"
}

# The daemon is enabled and has published.
machine_with_daemon() { # [LINE...]
    machine_with_vendor "$@"
    inside systemctl enable --quiet --now trustsync
    eventually 60 "the first generation is published" has_generation 000001
}

vendor() { # COMMAND
    inside curl -fsS -X POST "http://127.0.0.1:9080/$1"
}

daemon() { # PROPERTY
    inside systemctl show --property="$1" --value trustsync
}

# Looked up from inside: systemd's own files are seen there alone.
of_daemon() { # FIELD of /proc/PID/status
    inside sed -n "s/^$1:\t//p" "/proc/$(daemon MainPID)/status"
}

poll_now() {
    inside systemctl kill --kill-who=main --signal=USR1 trustsync
}

generation() {
    basename "$(readlink "$root$store/current")"
}

has_generation() { # NUMBER
    [[ $(generation) == "$1" ]]
}

says() { # TEXT in the line of systemctl status
    daemon StatusText | grep -qF -- "$1"
}

journal_has() { # UNIT TEXT
    inside journalctl --sync
    inside journalctl --quiet --no-pager --output=cat --unit="$1" | grep -qF -- "$2"
}

# The daemon has logged an event of this name.
journal_tells() { # EVENT
    inside journalctl --sync
    [[ $(inside journalctl --quiet --no-pager --output=cat --unit=trustsync "F_EVENT=$1") ]]
}

is() { # UNIT STATE
    [[ $(inside systemctl is-active "$1") == "$2" ]]
}

drop_in() { # UNIT NAME, its text on standard input
    install -d "$root/etc/systemd/system/$1.d"
    cat >"$root/etc/systemd/system/$1.d/$2.conf"
    inside systemctl daemon-reload
}

# nginx as packaged, on 443, its key root's alone; wired where our files are by now.
nginx_serves() {
    inside openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=api.example.com \
        -keyout /etc/ssl/private/api.key -out /etc/ssl/api.pem 2>/dev/null
    chmod 0600 "$root/etc/ssl/private/api.key"
    rm -f "$root/etc/nginx/sites-enabled/default"
    nginx_site ""
    inside systemctl restart nginx
}

nginx_site() { # LINE
    cat >"$root/etc/nginx/sites-enabled/api" <<NGINX
server {
    listen 127.0.0.1:443 ssl;
    server_name api.example.com;
    ssl_certificate /etc/ssl/api.pem;
    ssl_certificate_key /etc/ssl/private/api.key;
    $1
    location / { return 200 in; }
}
NGINX
}

# As the README says: the two snippets, and the include. The files of a privileged target lie elsewhere.
nginx_is_wired() { # FOLDER of the target's link
    local snippet
    for snippet in http:conf.d/trustsync.conf server:snippets/trustsync-server.conf; do
        sed "s|/var/lib/trustsync/target/nginx|$1|" "deploy/nginx/trustsync-${snippet%%:*}.conf" \
            >"$root/etc/nginx/${snippet#*:}"
    done
    nginx_site "include snippets/trustsync-server.conf;"
    inside nginx -t -q
    inside systemctl reload nginx
}

# What nginx answers to a client of the vendor's folder.
answer() { # CERTIFICATE
    inside curl -sk --max-time 5 --cert "/var/lib/vendor/$1.pem" --key "/var/lib/vendor/$1.key" -o /dev/null \
        --write-out '%{http_code}' https://127.0.0.1:443/
}

answers() { # CERTIFICATE CODE
    [[ $(answer "$1") == "$2" ]]
}

# The daemon has proven that nginx serves what is published now.
is_proven() {
    # Its exit code is its verdict of everything; here one line of it is asked for.
    { inside trustsync status --output json || true; } |
        jq -e '.[0] | .generation == .targets.nginx.serves and .targets.nginx.owed == null'
}

# ---- The units ------------------------------------------------------------------------------------------------------------

scenario_the_units_are_silent_and_tight() {
    machine_with_units
    local unit said
    said=$(inside sh -c 'systemd-analyze verify /etc/systemd/system/trustsync*.* \
        trustsync-apply@nginx.path trustsync-apply@nginx.service' 2>&1) || true
    must "systemd-analyze verify is silent: $said" [ -z "$said" ]
    local example
    for example in systemd/drop-ins/*.conf; do
        # Which says of itself that 252 must not have it; its own scenario has it where it belongs.
        [[ $example != */notify-reload.conf ]] || continue
        install -D -m 0644 -t "$root/etc/systemd/system/trustsync.service.d" "$example"
    done
    inside systemctl daemon-reload
    said=$(inside systemd-analyze verify trustsync.service 2>&1) || true
    must "systemd-analyze verify is silent with the drop-ins: $said" [ -z "$said" ]
    inside rm -r /etc/systemd/system/trustsync.service.d
    inside systemctl daemon-reload
    for unit in trustsync trustsync-sync; do
        must "$unit is at 1.3 or better" inside systemd-analyze security --threshold=13 --no-pager "$unit.service"
    done
    inside systemd-analyze security --no-pager trustsync-apply@nginx.service
    sandbox() { sed -n '/^# ---- The sandbox/,/^\[/ { /^\[/d; /^# ----/d; /^$/d; p }' "$1"; }
    must "both units have one sandbox" diff <(sandbox systemd/trustsync.service) <(sandbox systemd/trustsync-sync.service)
    # What the manager would have said while loading them.
    must "the manager is content" eval "! inside journalctl --quiet --no-pager _PID=1 | grep -E 'trustsync.*(Unknown|ignoring|Failed)'"
}

scenario_it_starts_unprivileged_and_in_its_sandbox() {
    machine_with_daemon
    local secret pid
    secret=$(<"$root/etc/trustsync/client-secret")
    pid=$(daemon MainPID)
    must "it runs as trustsync" [ "$(inside ps -o user= -p "$pid" 2>/dev/null || inside stat -c %U "/proc/$pid")" = trustsync ]
    must "no new privileges" [ "$(of_daemon NoNewPrivs)" = 1 ]
    must "a system call filter" [ "$(of_daemon Seccomp)" = 2 ]
    local set
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        must "no capability in $set" [ "$(of_daemon $set)" = 0000000000000000 ]
    done
    must "the store is its own" [ "$(inside stat -c %U:%a $store)" = trustsync:755 ]
    must "everybody may read what is published" \
        inside setpriv --reuid=nobody --clear-groups cat $store/current/fingerprints.txt >/dev/null
    must "it says how things stand: $(daemon StatusText)" says "days left, next poll"
    must "the secret stays root's" [ "$(inside stat -c %U:%a /etc/trustsync/client-secret)" = root:600 ]
    must "the secret is in no log" eval '! inside journalctl --quiet --no-pager | grep -qF "$secret"'
    must "the secret is not in its store" eval '! grep -rqF "$secret" "$root$store"'
    must "the secret is not in its environment" eval '! inside cat /proc/$pid/environ | tr "\0" "\n" | grep -qF "$secret"'
    must "a stop takes two seconds at most" stops_in_time
}

stops_in_time() {
    local begun
    begun=$(date +%s%N)
    inside systemctl stop trustsync
    local took=$((($(date +%s%N) - begun) / 1000000))
    echo "stopped in $took ms"
    [[ $(daemon Result) == success && $(daemon ExecMainStatus) == 0 ]] && ((took < 2000))
}

scenario_it_stops_within_two_seconds_in_the_middle_of_a_poll() {
    machine_with_daemon
    vendor "fail/slow-headers"
    local before
    before=$(listings)
    poll_now
    eventually 60 "the vendor was asked, and says nothing" eval '(($(listings) > before))'
    must "a stop takes two seconds at most" stops_in_time
}

scenario_it_stops_within_two_seconds_in_the_middle_of_a_hook() {
    machine_with_vendor '[target.other]' 'kind = "generic"' 'reload = { command = ["sleep", "97"] }'
    inside systemctl start trustsync
    eventually 60 "the hook runs" inside pgrep -f "sleep 97"
    must "a stop takes two seconds at most" stops_in_time
    must "the hook is ended, too" eval '! inside pgrep -f "sleep 97"'
    must "what it published is whole" inside trustsync verify $store/current/leaves.pem --anchor /etc/trustsync/digicert-root.pem \
        --intermediate $store/current/chain.pem
}

# How often the vendor was asked.
listings() {
    inside curl -fsS http://127.0.0.1:9080/state | jq .requests.listing
}

scenario_the_watchdog_restarts_it_when_it_stands_still() {
    machine_with_vendor
    drop_in trustsync.service watchdog <<<$'[Service]\nWatchdogSec=5s\nRestartSec=100ms'
    inside systemctl start trustsync
    eventually 60 "the first generation is published" has_generation 000001
    local first=$SECONDS before
    before=$(daemon MainPID)
    # At work, it feeds the watchdog by itself, for longer than that waits.
    while ((SECONDS - first < 8)); do sleep 0.5; done
    must "it lives as long as it is at work" [ "$(daemon MainPID) $(daemon NRestarts)" = "$before 0" ]
    inside kill -STOP "$before"
    eventually 60 "the watchdog ended it" journal_has trustsync "watchdog"
    eventually 60 "it is at work again" eval '[[ $(daemon NRestarts) == 1 && $(daemon ActiveState) == active ]]'
    must "another process" [ "$(daemon MainPID)" != "$before" ]
    eventually 60 "it says how things stand" says "generation 000001"
}

scenario_a_start_that_fails_is_tried_until_the_cause_is_mended() {
    machine_with_vendor
    drop_in trustsync.service at-once <<<$'[Service]\nRestartSec=100ms'
    local file=$root/etc/trustsync
    mv "$file/client-secret" "$file/away"
    must "without the secret's file it does not start" eval '! inside systemctl start trustsync'
    eventually 60 "the journal has the reason" journal_has trustsync "status=243/CREDENTIALS"
    mv "$file/away" "$file/client-secret"
    echo 'interwal = "5m"' >>"$file/config.toml"
    eventually 60 "it was tried more often than systemd's limit allows" eval '(($(daemon NRestarts) > 12))'
    eventually 60 "the journal has the reason" journal_has trustsync "interwal"
    sed -i '$d' "$file/config.toml"
    eventually 60 "it starts once all is mended" has_generation 000001
}

# ---- The configuration ----------------------------------------------------------------------------------------------------

scenario_a_reload_takes_a_good_configuration_and_survives_a_broken_one() {
    machine_with_daemon
    local file=$root/etc/trustsync/config.toml pid
    pid=$(daemon MainPID)
    inside systemctl reload trustsync
    eventually 60 "a good one is in force" journal_has trustsync "was read anew and is in force"

    cp "$file" "$file.good"
    echo 'interwal = "5m"' >>"$file"
    inside systemctl reload trustsync
    eventually 60 "systemctl status has the reason" says "CONFIGURATION REFUSED"
    must "it names the key: $(daemon StatusText)" says "interwal"
    eventually 60 "the journal has the reason" journal_has trustsync "interwal"
    eventually 60 "as an event" journal_tells configuration_refused
    eventually 60 "the journal says what it means" journal_has trustsync "the one before stays in force"
    must "the unit is active" is trustsync active
    vendor "days-left/30"
    poll_now
    eventually 60 "the old one is at work" has_generation 000002

    # Mended by an editor, without any reload.
    cp "$file.good" "$file.new"
    mv "$file.new" "$file"
    eventually 60 "what was refused is no longer said" eval '! says REFUSED'
    must "all that by one process" [ "$(daemon MainPID) $(daemon NRestarts)" = "$pid 0" ]
}

scenario_an_edited_configuration_is_taken_without_a_reload() {
    machine_with_daemon
    local file=$root/etc/trustsync/config.toml
    # Written in place, as some editors do, and half of it is broken.
    printf '\n[schedule]\ninterval =' >>"$file"
    eventually 60 "half a file is refused" says "CONFIGURATION REFUSED"
    printf ' "10m"\n' >>"$file"
    eventually 60 "the whole one is in force" journal_has trustsync "was read anew and is in force"
    eventually 60 "what was refused is no longer said" eval '! says REFUSED'
}

scenario_notify_reload_waits_for_the_outcome() {
    machine_with_vendor
    if (($(inside systemctl --version | awk 'NR == 1 { print $2 }') < 253)); then
        must "the unit without the drop-in names nothing that 253 brought" \
            eval '! grep -q "^Type=notify-reload" systemd/*.service'
        return
    fi
    drop_in trustsync.service notify-reload <systemd/drop-ins/notify-reload.conf
    local said
    said=$(inside systemd-analyze verify trustsync.service 2>&1) || true
    must "systemd-analyze verify is silent: $said" [ -z "$said" ]
    inside systemctl start trustsync
    eventually 60 "the first generation is published" has_generation 000001
    echo 'interwal = "5m"' >>"$root/etc/trustsync/config.toml"
    inside systemctl reload trustsync
    must "it is over when reload returns" [ "$(daemon SubState)" = running ]
    must "the refusal is there when reload returns" journal_has trustsync "the one before stays in force"
    eventually 2 "systemctl status has the reason" says "interwal"
}

scenario_a_rotated_secret_needs_a_restart() {
    machine_with_vendor
    local file=$root/etc/trustsync/client-secret right
    right=$(<"$file")
    printf 'not-the-secret' >"$file"
    inside systemctl start trustsync
    eventually 60 "the vendor refuses the wrong one" journal_has trustsync "401"
    printf '%s' "$right" >"$file"
    inside systemctl reload trustsync
    poll_now
    eventually 60 "it asked again, in vain" eval '(($(jq .sources.us.failures "$root$store/state.json") > 1))'
    must "the service has its copy of the old one" \
        [ "$(inside nsenter --mount --target "$(daemon MainPID)" cat /run/credentials/trustsync.service/us-client-secret)" = not-the-secret ]
    must "nothing is published" [ ! -e "$root$store/current" ]
    inside systemctl restart trustsync
    eventually 60 "the new one is used" has_generation 000001
}

# ---- Beside it ------------------------------------------------------------------------------------------------------------

scenario_the_timer_runs_beside_the_daemon() {
    machine_with_daemon
    drop_in trustsync-sync.timer at-once <<<$'[Timer]\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=100ms'
    inside systemctl enable --quiet --now trustsync-sync.timer
    eventually 60 "the timer ran a sync" journal_has trustsync-sync "Finished"
    must "the sync went well" [ "$(inside systemctl show --property=Result --value trustsync-sync)" = success ]
    must "the next one is planned" eval '[[ $(inside systemctl show --property=NextElapseUSecRealtime --value trustsync-sync.timer) ]]'
    vendor "days-left/30"
    local round
    for round in 1 2 3 4 5; do
        poll_now
        inside systemctl start trustsync-sync
    done
    must "both went on, one after the other" is trustsync active
    # The new leaves, and then the old one's role, which changes after three answers that agree: nothing twice.
    eventually 60 "both made one story" has_generation 000003
    must "neither took the other's work for drift" eval '! journal_tells store_drift'
    must "neither ended the other" [ "$(daemon NRestarts)" = 0 ]
    must "the sync left the store to its user" eval '[[ -z $(inside find $store ! -user trustsync) ]]'
}

scenario_a_polkit_rule_lets_it_reload_one_unit_and_nothing_else() {
    install -D -m 0644 systemd/polkit-reload.rules "$root/etc/polkit-1/rules.d/50-trustsync.rules"
    machine_with_daemon '[target.nginx]' 'kind = "nginx"' 'check = []' 'reload = { systemd = "nginx.service" }' \
        'proof = { connect = ["127.0.0.1:443"], server_name = "api.example.com" }'
    nginx_serves
    nginx_is_wired $store/target/nginx
    poll_now
    eventually 60 "nginx is proven" is_proven
    vendor "days-left/30"
    poll_now
    eventually 60 "the next generation is out" has_generation 000002
    eventually 60 "nginx is proven to serve it" is_proven
    must "the upcoming certificate is admitted" answers upcoming 200
    must "a stranger of the same CA is not" answers stranger 403
    local verb
    as_the_daemon() { inside setpriv --reuid=trustsync --regid=trustsync --clear-groups systemctl --no-ask-password "$@"; }
    must "it may reload nginx" as_the_daemon reload nginx.service
    for verb in restart stop start; do
        must "it may not $verb nginx" eval "! as_the_daemon $verb nginx.service"
    done
    must "it may reload nothing else" eval '! as_the_daemon reload trustsync.service'
}

# ---- Root's half ----------------------------------------------------------------------------------------------------------

# nginx as a privileged target, wired and proven.
machine_with_privileged_nginx() {
    machine_with_daemon '[target.nginx]' 'kind = "nginx"' 'privileged = true' \
        'proof = { connect = ["127.0.0.1:443"], server_name = "api.example.com" }'
    nginx_serves
    inside systemctl enable --quiet --now trustsync-apply@nginx.path
    eventually 60 "root has its own files" [ -L "$root$theirs/nginx" ]
    nginx_is_wired $theirs/nginx
    poll_now
    eventually 60 "nginx is proven" is_proven
}

break_nginx() {
    echo 'no_such_directive;' >"$root/etc/nginx/conf.d/broken.conf"
}

mend_nginx() {
    rm "$root/etc/nginx/conf.d/broken.conf"
}

# As whoever has taken the daemon over would.
ask_root() {
    inside setpriv --reuid=trustsync --regid=trustsync --clear-groups touch $theirs/requests/nginx
}

has_no_request() {
    [[ ! -e $root$theirs/requests/nginx ]]
}

scenario_a_rotation_reaches_nginx_through_root() {
    machine_with_privileged_nginx
    must "the current certificate is admitted" answers current 200
    must "a stranger of the same CA is not" answers stranger 403
    vendor "days-left/30"
    poll_now
    eventually 60 "the next generation is out" has_generation 000002
    eventually 60 "nginx is proven to serve it" is_proven
    must "the upcoming certificate is admitted before the change" answers upcoming 200
    vendor rotate
    must "the new certificate is admitted on the day" answers current 200
    must "a stranger of the same CA is not" answers stranger 403
    must "a namesake of another is not" eval '[[ $(answer namesake) != 200 ]]'
    must "what nginx reads is root's alone" eval '[[ -z $(inside find $theirs/generations $theirs/nginx \( ! -user root -o -perm /022 ! -type l \)) ]]'
    must "no request is left" has_no_request
    must "nginx's key is root's alone" [ "$(inside stat -c %U:%a /etc/ssl/private/api.key)" = root:600 ]
    must "the daemon has no capability" [ "$(of_daemon CapEff)" = 0000000000000000 ]
    must "nothing has failed" eval '[[ $(inside systemctl show --property=Result --value trustsync-apply@nginx.service) == success ]]'
    must "the path unit waits for the next" is trustsync-apply@nginx.path active
    # The view in private needs what its sandbox leaves open; without, it would say so.
    must "the check was made before anybody saw the files" eval '! inside journalctl --quiet --no-pager --unit=trustsync-apply@nginx.service | grep -i "private"'
}

scenario_a_reboot_in_the_middle_of_an_owed_reload_is_survived() {
    machine_with_privileged_nginx
    break_nginx
    vendor "days-left/30"
    poll_now
    eventually 60 "the next generation is out" has_generation 000002
    eventually 60 "root's half has failed" is trustsync-apply@nginx.service failed
    eventually 60 "the reload is owed" says "1 owed"
    must "nginx serves the old one" eval '[[ $(answer upcoming) != 200 ]]'
    power_cut
    # The vendor is away, too: what is owed is paid from the disk.
    power_on
    eventually 60 "the daemon knows what it owes" says "1 owed"
    must "nginx, broken, does not run" eval '! is nginx active'
    mend_nginx
    inside systemctl start nginx
    eventually 120 "it ends in proof" is_proven
    must "it is the newest generation" has_generation 000002
    eventually 60 "nothing is owed" eval '! says owed'
    must "the upcoming certificate is admitted" answers upcoming 200
}

scenario_a_failing_half_of_root_does_not_fall_silent() {
    machine_with_privileged_nginx
    local round
    break_nginx
    vendor "days-left/30"
    poll_now
    eventually 60 "the next generation is out" has_generation 000002
    for round in 1 2 3 4 5 6 7 8 9 10; do
        ask_root
        eventually 60 "request $round is taken" has_no_request
        eventually 60 "round $round has failed" is trustsync-apply@nginx.service failed
    done
    must "the path unit is armed" is trustsync-apply@nginx.path active
    must "it shows among the failed units" eval 'inside systemctl --failed --plain --no-legend | grep -q trustsync-apply@nginx.service'

    # Worse: it cannot even begin, so that the request stays.
    drop_in trustsync-apply@.service missing <<<$'[Service]\nExecStart=\nExecStart=/nonexistent'
    ask_root
    eventually 60 "it was started in vain, and again" eval '(($(inside journalctl --quiet --no-pager --output=cat --unit=trustsync-apply@nginx.service | grep -c "status=203") >= 3))'
    must "the path unit is armed" eval '[[ $(inside systemctl is-active trustsync-apply@nginx.path) != failed ]]'
    rm "$root/etc/systemd/system/trustsync-apply@.service.d/missing.conf"
    inside systemctl daemon-reload
    mend_nginx
    eventually 60 "what was owed is paid after all" is_proven
    must "the upcoming certificate is admitted" answers upcoming 200
}

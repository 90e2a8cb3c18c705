# shellcheck shell=bash
# shellcheck disable=SC2154 # what the driver and the other files set
# shellcheck disable=SC2016 # conditions are evaluated anew at each look
# shellcheck disable=SC2034,SC2086,SC2317 # in conditions; paths of ours without spaces
#
# The units, and the life of the daemon in them. Each scenario has a machine of its own, switched off.

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
    must "systemd watches it" [ "$(daemon Type) $(daemon WatchdogUSec)" = "notify 6min" ]
    must "it runs as trustsync" [ "$(inside ps -o user= -p "$pid")" = trustsync ]
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

# shellcheck shell=bash
# shellcheck disable=SC2154 # what the driver and the other files set
# shellcheck disable=SC2016 # conditions are evaluated anew at each look
# shellcheck disable=SC2034,SC2086,SC2317 # in conditions; paths of ours without spaces
#
# What stands beside the daemon: the timer, and polkit.

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

# shellcheck shell=bash
# shellcheck disable=SC2154 # what the driver and the other files set
# shellcheck disable=SC2016 # conditions are evaluated anew at each look
# shellcheck disable=SC2034,SC2086,SC2317 # in conditions; paths of ours without spaces
#
# What the daemon does when its configuration or its secret is another.

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

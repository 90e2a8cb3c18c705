# shellcheck shell=bash
# shellcheck disable=SC2154 # what the driver and the other files set
# shellcheck disable=SC2016 # conditions are evaluated anew at each look
# shellcheck disable=SC2034,SC2086,SC2317 # in conditions; paths of ours without spaces
#
# Root's half: targets with `privileged = true`.

# nginx as a privileged target, wired and proven.
machine_with_privileged_nginx() { # [LINE of the target...]
    machine_with_daemon '[target.nginx]' 'kind = "nginx"' 'privileged = true' \
        'proof = { connect = ["127.0.0.1:443"], server_name = "api.example.com" }' "$@"
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

# Another run than that one has failed.
has_failed_after() { # INVOCATION
    is trustsync-apply@nginx.service failed && [[ $(invocation) != "$1" ]]
}

invocation() {
    inside systemctl show --property=InvocationID --value trustsync-apply@nginx.service
}

scenario_a_rotation_reaches_nginx_through_root() {
    # The other scenarios tell it by a signal.
    machine_with_privileged_nginx 'reload = { systemd = "nginx.service" }'
    must "the current certificate is admitted" answers current 200
    must "a stranger of the same CA is not" answers stranger 403
    vendor "days-left/30"
    poll_now
    eventually 60 "the next generation is out" has_generation 000002
    eventually 60 "nginx is proven to serve it" is_proven
    must "the upcoming certificate is admitted before the change" answers upcoming 200
    vendor rotate
    must "the new certificate is admitted on the day" answers current 200
    inside systemctl start trustsync-sync
    must "root may poll by hand, too" inside trustsync sync
    must "the store is still its owner's" eval '[[ -z $(inside find $store ! -user trustsync) ]]'
    eventually 60 "nginx is proven to serve it" is_proven
    must "a stranger of the same CA is not" answers stranger 403
    must "a namesake of another is not" eval '[[ $(answer namesake) != 200 ]]'
    must "what nginx reads is root's alone" eval '[[ -z $(inside find $theirs/generations $theirs/nginx \( ! -user root -o -perm /022 ! -type l \)) ]]'
    eventually 60 "no request is left" [ ! -e "$root$theirs/requests/nginx" ]
    must "nginx's key is root's alone" [ "$(inside stat -c %U:%a /etc/ssl/private/api.key)" = root:600 ]
    must "the daemon has no capability" [ "$(of_daemon CapEff)" = 0000000000000000 ]
    must "nothing has failed" eval '[[ $(inside systemctl show --property=Result --value trustsync-apply@nginx.service) == success ]]'
    eventually 60 "the path unit waits for the next" is trustsync-apply@nginx.path active
}

scenario_the_main_process_of_a_unit_is_told() {
    machine_with_privileged_nginx 'reload = { signal = "HUP", unit = "nginx.service" }'
    vendor "days-left/30"
    poll_now
    eventually 60 "the next generation is out" has_generation 000002
    eventually 60 "nginx is proven to serve it" is_proven
    must "the upcoming certificate is admitted" answers upcoming 200
    must "it was told by its main process" grep -qF "HUP was sent to process $(inside systemctl show --property=MainPID --value nginx)" "$root$store/evidence.jsonl"
}

scenario_its_sandbox_lets_nginx_be_checked_in_private() {
    machine_with_units
    nginx_serves
    # What `apply` does for a check: the new files over the old, in a view of its own.
    drop_in trustsync-apply@.service check <<'UNIT'
[Service]
ExecStart=
ExecStart=/usr/bin/unshare --mount --propagation private -- /bin/sh -c 'mount --bind /etc/nginx/snippets /mnt && nginx -t'
UNIT
    must "the check passes" inside systemctl start trustsync-apply@nginx
    must "nobody else saw it" eval '[[ -z $(inside ls -A /mnt) ]]'
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
    eventually 60 "nothing is owed" eval '! says owed'
    must "the upcoming certificate is admitted" answers upcoming 200
}

starts_in_vain() {
    inside journalctl --quiet --no-pager --output=cat --unit=trustsync-apply@nginx.service | grep -c "status=203"
}

scenario_a_failing_half_of_root_does_not_fall_silent() {
    machine_with_privileged_nginx
    local round before
    break_nginx
    vendor "days-left/30"
    for round in 1 2 3 4 5 6 7 8 9 10; do
        before=$(invocation)
        poll_now
        eventually 60 "round $round has failed" has_failed_after "$before"
        eventually 60 "its request is taken" [ ! -e "$root$theirs/requests/nginx" ]
    done
    eventually 60 "the path unit is armed" is trustsync-apply@nginx.path active
    eventually 60 "it shows among the failed units" eval 'inside systemctl --failed --plain --no-legend | grep -q trustsync-apply@nginx.service'

    # Worse: it cannot even begin, so that the request stays.
    drop_in trustsync-apply@.service missing <<<$'[Service]\nExecStart=\nExecStart=/nonexistent'
    local begun=$SECONDS
    poll_now
    eventually 60 "it was started in vain, and again" eval '(($(starts_in_vain) >= 3))'
    must "but not in a mad rush" eval '(($(starts_in_vain) <= SECONDS - begun + 2))'
    must "the path unit is armed" eval '[[ $(inside systemctl is-active trustsync-apply@nginx.path) != failed ]]'
    must "nginx serves the old one" eval '[[ $(answer upcoming) != 200 ]]'
    mend_nginx
    rm "$root/etc/systemd/system/trustsync-apply@.service.d/missing.conf"
    inside systemctl daemon-reload
    eventually 60 "what was owed is paid after all" is_proven
    must "the upcoming certificate is admitted" answers upcoming 200
}

# An Apache of its own unit, its key root's alone, with these lines in its virtual host.
apache_site() { # LINES
    install -d "$root/etc/api"
    {
        printf 'LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n' \
            mpm_event mpm_event ssl ssl socache_shmcb socache_shmcb headers headers authz_core authz_core
        cat <<APACHE
ServerRoot /etc/api
ServerName api.example.com
User www-data
Group www-data
DefaultRuntimeDir /run/api
PidFile /run/api/api.pid
ErrorLog /var/log/api.log
SSLSessionCache shmcb:/run/api/sessions(512000)
Listen 127.0.0.1:443
DocumentRoot /var/www
<VirtualHost *:443>
SSLEngine on
SSLCertificateFile /etc/ssl/api.pem
SSLCertificateKeyFile /etc/ssl/private/api.key
$1
</VirtualHost>
APACHE
    } >"$root/etc/api/httpd.conf"
}

scenario_its_sandbox_lets_apache_be_started_in_private() {
    machine_with_daemon '[target.api]' 'kind = "apache"' 'privileged = true' \
        'check = ["apache2", "-d", "/etc/api", "-f", "httpd.conf"]' 'reload = { pidfile = "/run/api/api.pid" }' \
        'proof = { connect = ["127.0.0.1:443"], server_name = "api.example.com" }'
    inside openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=api.example.com \
        -keyout /etc/ssl/private/api.key -out /etc/ssl/api.pem 2>/dev/null
    chmod 0600 "$root/etc/ssl/private/api.key"
    install -d "$root/var/www"
    echo in >"$root/var/www/index.html"
    apache_site ""
    cat >"$root/etc/systemd/system/api.service" <<'UNIT'
[Service]
RuntimeDirectory=api
ExecStart=/usr/sbin/apache2 -d /etc/api -f httpd.conf -D FOREGROUND
UNIT
    inside systemctl daemon-reload
    inside systemctl start api
    inside systemctl enable --quiet --now trustsync-apply@api.path
    eventually 60 "root has its own files" [ -L "$root$theirs/api" ]
    apache_site "$(sed "s|/var/lib/trustsync/target/apache|$theirs/api|" deploy/apache/trustsync.conf)"
    inside systemctl kill --kill-who=main --signal=USR1 api
    local proven='.stores[] | .generation == .targets.api.serves and .targets.api.owed == null'
    is_it_proven() { { inside trustsync status --output json || true; } | jq -e "$proven"; }
    poll_now
    eventually 60 "Apache is proven" is_it_proven
    must "the current certificate is admitted" eval '[[ $(answer current) != 403 && $(answer current) != 000 ]]'
    must "a stranger of the same CA is not" answers stranger 403
    eventually 60 "its check was seen to look" eval 'jq -e ".sight.verdict == \"sees\"" "$root$theirs/outcomes/api.json"'
    vendor "days-left/30"
    poll_now
    eventually 60 "the next generation is out" has_generation 000002
    eventually 60 "Apache is proven to serve it" is_it_proven
    must "the upcoming certificate is admitted before the change" eval '[[ $(answer upcoming) != 403 && $(answer upcoming) != 000 ]]'

    # A fault that would end it: found by the start, in the sandbox, and Apache lives on.
    echo "no key" >"$root/etc/ssl/private/api.key"
    vendor rotate
    vendor "days-left/30"
    poll_now
    eventually 60 "root's half has failed" is trustsync-apply@api.service failed
    must "by what the start says" eval 'grep -q "before it came to serve" "$root$theirs/outcomes/api.json"'
    must "Apache runs" is api active
    must "no other one does" eval '[[ $(inside pgrep -c -o apache2) == 1 && -z $(inside sh -c "ls -d /tmp/trustsync-check-* 2>/dev/null") ]]'
}

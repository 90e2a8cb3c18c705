# shellcheck shell=bash
# shellcheck disable=SC2154 # what the driver and the other files set
# shellcheck disable=SC2016 # conditions are evaluated anew at each look
# shellcheck disable=SC2034,SC2086,SC2317 # in conditions; paths of ours without spaces
#
# The parts of the scenarios: units installed as people do it, a vendor, nginx. A machine, switched off, is $root.

store=/var/lib/trustsync
theirs=/var/lib/trustsync-targets

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
builtin_anchors = false
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
        jq -e '.stores.main | .generation == .targets.nginx.serves and .targets.nginx.owed == null'
}

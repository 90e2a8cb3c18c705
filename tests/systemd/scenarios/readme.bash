# shellcheck shell=bash
# shellcheck disable=SC2154 # what the driver and the other files set
# shellcheck disable=SC2016 # conditions are evaluated anew at each look
# shellcheck disable=SC2034,SC2086,SC2317 # in conditions; paths of ours without spaces
#
# Each configuration that README.md shows, as it stands there, under the user and the sandbox of our unit.

# Splits README's blocks of TOML into files: 01, 02 and so on.
readme_blocks() { # FOLDER
    awk -v folder="$1" '/^```toml$/ { file = sprintf("%s/%02d", folder, ++n); next } /^```$/ { file = "" }
        file { print > file }' README.md
}

# A block as a whole configuration: what it lacks of its source is that of the first block.
whole_configuration() { # BLOCK FIRST
    local source
    source=$(sed -n '/^\[source/,/^$/p' "$2")
    if grep -q '^client_id' "$1"; then
        cat "$1"
    elif grep -q '^\[source' "$1"; then
        printf '%s\n' "$source" | sed '/^$/d'
        grep -v '^\[source' "$1"
    else
        printf '%s\n\n' "$source"
        cat "$1"
    fi
}

scenario_each_configuration_of_the_readme_works_under_the_unit() {
    machine_with_vendor
    local blocks=$machine/blocks block code checked=0
    mkdir "$blocks"
    readme_blocks "$blocks"
    # Where the vendor is, and whom to believe; all else is README's.
    {
        echo "[Service]"
        sed -n -e 's/"//g' -e 's/^client_id = /Environment=TRUSTSYNC__SOURCE__US__CLIENT_ID=/p' \
            -e 's/^api = /Environment=TRUSTSYNC__SOURCE__US__API=/p' \
            -e 's/^login = /Environment=TRUSTSYNC__SOURCE__US__LOGIN=/p' "$root/etc/trustsync/config.toml"
        echo "Environment=TRUSTSYNC__SOURCE__US__CA_FILE=/etc/trustsync/api-ca.pem TRUSTSYNC__CRL__ALLOW_PRIVATE=true"
        echo "Environment=TRUSTSYNC__SOURCE__US__DIGICERT_ANCHORS=/etc/trustsync/digicert-root.pem"
        echo "Environment=TRUSTSYNC__SOURCE__US__BUILTIN_ANCHORS=false"
    } >"$machine/vendor.conf"
    # The check has the same user and sandbox: it is the same unit, with another command.
    sed -e 's|^ExecStart=.*|ExecStart=/usr/local/bin/trustsync config check|' -e '/^StandardOutput=/d' \
        systemd/trustsync-sync.service >"$root/etc/systemd/system/trustsync-check.service"
    install -m 0644 "$root/var/lib/vendor/genesys-root.pem" "$root/etc/trustsync/us-east-1.zip"

    for block in "$blocks"/*; do
        # No server runs here, and nobody needs to wait for it.
        cp "$machine/vendor.conf" "$machine/block.conf"
        ! grep -q '^proof = ' "$block" || sed -n 's/^\[target\.\(.*\)\]$/Environment=TRUSTSYNC__TARGET__\U\1\E__PROOF__TIMEOUT=5s/p' \
            "$block" >>"$machine/block.conf"
        drop_in trustsync-check.service block <"$machine/block.conf"
        drop_in trustsync-sync.service block <"$machine/block.conf"
        whole_configuration "$block" "$blocks/01" >"$root/etc/trustsync/config.toml"
        inside rm -rf "$store"
        inside systemctl start trustsync-check || true
        code=$(inside systemctl show --property=ExecMainStatus --value trustsync-check)
        must "config check of block ${block##*/}: $(inside journalctl --quiet -o cat -n 5 -u trustsync-check)" [ "$code" = 0 ]
        must "it said so" journal_has trustsync-check "The configuration is good"
        # What is published is owed to the server, and nothing worse.
        inside systemctl start trustsync-sync || true
        code=$(inside systemctl show --property=ExecMainStatus --value trustsync-sync)
        must "sync of block ${block##*/} ($code): $(inside journalctl --quiet -o cat -n 5 -u trustsync-sync)" \
            eval '[[ $code == 0 || $code == 7 || $code == 9 ]]'
        must "it has published" has_generation 000001
        must "its files are the daemon's" [ "$(inside stat -c %U /var/lib/trustsync/current)" = trustsync ]
        inside systemctl reset-failed
        checked=$((checked + 1))
    done
    must "every block was tried: $checked" [ "$checked" = "$(grep -c '^```toml$' README.md)" ]
}

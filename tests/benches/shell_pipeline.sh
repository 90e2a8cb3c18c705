#!/usr/bin/env bash
# What people write by hand: fetch with curl, pick with jq, check with openssl, write to a file. The other yardstick.
#
#     shell_pipeline.sh API CA_FILE CLIENT_ID SECRET_FILE ROOT_FILE OUT_FOLDER
set -euo pipefail
api=$1 ca=$2 id=$3 secret=$4 root=$5 out=$6
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'user = "%s:%s"\n' "$id" "$(<"$secret")" >"$work/curl"
token=$(curl -sS --fail --cacert "$ca" -K "$work/curl" -d grant_type=client_credentials "$api/oauth/token" | jq -r .access_token)
for query in "" "?status=Upcoming"; do
    curl -sS --fail --cacert "$ca" -H "Authorization: Bearer $token" "$api/api/v2/integrations/actions/certificates$query"
done | jq -r '.entities[] | select(.signingAuthority == "DigiCert") | .certificate | @base64' | sort -u >"$work/entities"
n=0
while read -r entity; do
    n=$((n + 1))
    # The vendor's PEM has spaces in odd places, which openssl does not forgive.
    base64 -d <<<"$entity" | tr -d '\r' | sed 's/^ *//; s/ *$//; /-----/!s/ //g' >"$work/$n.chain"
    awk -v dir="$work" -v n="$n" '/BEGIN/{i++} {print > (dir "/" n "." i ".pem")}' "$work/$n.chain"
    cat "$work/$n."[2-9].pem >"$work/$n.rest"
    openssl verify -purpose sslclient -CAfile "$root" -untrusted "$work/$n.rest" "$work/$n.1.pem" >/dev/null
    openssl x509 -in "$work/$n.1.pem" -noout -checkend 0 >/dev/null
    openssl x509 -in "$work/$n.1.pem" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' >>"$work/fingerprints"
    cat "$work/$n.rest" >>"$work/bundle"
done <"$work/entities"
cmp -s "$work/fingerprints" "$out/fingerprints" || cp "$work/fingerprints" "$out/fingerprints"
cmp -s "$work/bundle" "$out/bundle.pem" || cp "$work/bundle" "$out/bundle.pem"

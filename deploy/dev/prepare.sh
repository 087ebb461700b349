#!/usr/bin/env bash
# Prepares deploy/dev for trying out, once: keys, a trust file, an empty log, a witness's state, and the database `tax` with
# its sample tables on the PostgreSQL of `make services`. Prints the pin of the trust file, words to stderr.
#
# FOR TRYING OUT ONLY: all keys, of all parties, lie in one folder without a passphrase, and one root holder and one witness
# are enough. In production each key is made where it is used (docs/guide/first-table.md says by which commands).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
trust=trust-1.note

say() { echo "prepare: $*" >&2; }
fail() { say "$*"; exit 2; }
govbridge() { "$root/target/debug/govbridge" "$@"; }
sql() { "$here/services.sh" sql "$@"; }

[ -x "$root/target/debug/govbridge" ] || fail "there is no govbridge yet: run \`make build\` first"
cd "$here"
[ ! -e keys ] || fail "$here was prepared before; \`make services-clean\` forgets that, with the servers' data"
[ -z "$(sql postgres "SELECT 1 FROM pg_database WHERE datname = 'tax'")" ] ||
  fail "the database tax is there already; \`make services-clean\` removes the servers' data"

mkdir -m 700 keys
key() { govbridge keygen --role "$1" --name "$2" --out "keys/$3.key"; }
root_key="$(key root gov.example/root/li root)"
govbridge trust init "$trust" --domain gov.example --threshold 1 --root "$root_key" >&2
add() { govbridge trust add "$trust" "$@" >&2; }
add department --name tax --title "Tax bureau"
add department --name social-security --title "Social security"
add department --name education --title "Education"
add department --name audit --title "Audit"
add signing --department tax --origin gov.example/tax/main --key "$(key signing tax signing)"
add recipient --department tax --key "$(key recipient tax tax-recipient)"
add recipient --department social-security --key "$(key recipient social-security recipient)"
add recipient --department education --key "$(key recipient education education-recipient)"
add recipient --department audit --key "$(key recipient audit audit-recipient)"
add log --department tax --origin gov.example/tax/main --vkey "$(key log gov.example/tax/main log)" --url http://127.0.0.1:7101
add witness --department audit --name gov.example/audit/witness --vkey "$(key witness gov.example/audit/witness witness)" \
  --url http://127.0.0.1:7201 --checking
add policy --quorum 1 --liars 0
pin="$(govbridge trust sign "$trust" --key keys/root.key)"

export GOVBRIDGE__TRUST__PIN="$pin"
govbridge log init --directory log --origin gov.example/tax/main --key keys/log.key >&2
govbridge witness init --config witness.toml >&2

# The connector's role owns its tables here, so that it may make the publication itself. It is no superuser.
sql postgres "SELECT 1 FROM pg_roles WHERE rolname = 'govbridge'" | grep -q 1 || sql postgres "CREATE ROLE govbridge LOGIN REPLICATION"
sql postgres "CREATE DATABASE tax OWNER govbridge"
sql tax "SET ROLE govbridge; $(cat "$root/schemas/tax/postgres.sql")"
# The files name the ports that `make services` takes first.
state="${SERVICES:-$root/target/services}/state"
port="$(sed -n 's/^POSTGRES_PORT=//p' "$state")" kafka="$(sed -n 's/^KAFKA_BOOTSTRAP=//p' "$state")"
grep -q "^port = $port\$" connector.toml || say "PostgreSQL has another port: GOVBRIDGE__SOURCE__PORT=$port before each govbridge connector"
grep -q "\"$kafka\"" connector.toml || say "Kafka has another port: GOVBRIDGE__KAFKA__BOOTSTRAP_SERVERS=$kafka before each govbridge connector and subscriber"
say "the database tax and the keys are made, FOR TRYING OUT ONLY"
echo "$pin"

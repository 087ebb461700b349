#!/usr/bin/env bash
# The longer forms of the tests: what takes too long for every change, and what other versions of the servers do.
# One line for each; all are run, and the end names those that failed.
set -u
cd "$(dirname "$0")/.." || exit 2
failed=()
run() { # name, command
  local name="$1"; shift
  echo "nightly: $name"
  "$@" || failed+=("$name")
}
# Servers that a test starts end with this, unless they ran before.
[ -e target/services/state ] || trap 'deploy/dev/services.sh down' EXIT

# Source and sink on every major version of PostgreSQL.
for major in 14 15 16 17 18; do
  run "PostgreSQL $major" env PG="$major" cargo test --locked --workspace --no-fail-fast --test postgres --test sink
  run "PostgreSQL $major, faults" env PG="$major" cargo test --locked --workspace --no-fail-fast --test faults -- postgres:: tables::
  run "PostgreSQL $major, path" env PG="$major" cargo test --locked --workspace --no-fail-fast --test path -- postgres::
done
# Kafka is away for longer than anything waits for it.
run "Kafka away for 90 s" env GOVBRIDGE_AWAY_S=90 cargo test --locked --workspace --test kafka -- away::

if [ "${#failed[@]}" -gt 0 ]; then
  printf 'nightly: FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "nightly: all passed"

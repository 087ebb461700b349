#!/usr/bin/env bash
# The long forms of the tests, for a machine that has some hours. Each `part` stands alone: a name, variables, a command.
# KILLS says how often each process of the campaigns is killed. The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 2
KILLS="${KILLS:-200}"
out=$(mktemp)
status=0
# What ran before runs afterwards, in its version.
before=$(sed -n 's/^POSTGRES_MAJOR=//p' target/services/state 2>/dev/null)
ran=$([ -e target/services/state ] && echo yes)
finish() {
  rm -f "$out"
  if [ -n "$ran" ]; then PG="${before:-18}" deploy/dev/services.sh up; else deploy/dev/services.sh down; fi
}
trap finish EXIT

part() {
  local name="$1" begun=$SECONDS
  shift
  echo "nightly: $name"
  env "$@" 2>&1 | tee -a "$out"
  local ended="${PIPESTATUS[0]}"
  [ "$ended" -eq 0 ] || status=1
  echo "nightly: $name: $([ "$ended" -eq 0 ] && echo passed || echo FAILED) after $((SECONDS - begun)) s"
}
tests="cargo test --locked --workspace --no-fail-fast"

for major in 14 15 16 17 18; do
  part "PostgreSQL $major: connector, sink, sessions" PG="$major" $tests --test postgres --test sink --test tls
  part "PostgreSQL $major: statements of the sink" PG="$major" $tests --lib -- postgres::
  part "PostgreSQL $major: whole path and faults" PG="$major" $tests --test path --test faults -- postgres:: tables:: restored:: campaign::
done
part "$KILLS kills of each process, of broker and source" GOVBRIDGE_KILLS="$KILLS" $tests --test faults -- campaign:: --nocapture
part "the same, each stream by itself" GOVBRIDGE_KILLS="$KILLS" GOVBRIDGE_MODE=stream $tests --test faults -- campaign:: --nocapture
part "the model's random walks" GOVBRIDGE_RUNS=400000 $tests --test model -- random --nocapture
part "Kafka away for longer than anything waits for it" GOVBRIDGE_AWAY_S=90 $tests --test kafka -- away::

read -r passed failed < <(awk -f tests/count.awk "$out")
# A runner that died without a count is a failure of its own.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
echo "$passed passed, $failed failed"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]

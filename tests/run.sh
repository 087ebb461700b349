#!/usr/bin/env bash
# Runs every test there is and adds up all runners. The last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 2
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
# The tests start the servers that they need (deploy/dev/services.sh); what ran before stays.
[ -e target/services/state ] || trap 'rm -f "$out"; deploy/dev/services.sh down' EXIT

# What a connector of the path tests sends is left for the second reader.
dump="$PWD/target/dump"
rm -rf "$dump"
GOVBRIDGE_DUMP="$dump" cargo test --locked --workspace --no-fail-fast 2>&1 | tee -a "$out"
[ "${PIPESTATUS[0]}" -eq 0 ] || status=1
make --no-print-directory test-python 2>&1 | tee -a "$out"
[ "${PIPESTATUS[0]}" -eq 0 ] || status=1

GOVBRIDGE_DUMP="$dump" make --no-print-directory test-live 2>&1 | tee -a "$out"
[ "${PIPESTATUS[0]}" -eq 0 ] || status=1

# cargo: "test result: ok. 12 passed; 0 failed; ..." — pytest: "12 passed, 1 failed in 0.3s" in either order.
read -r passed failed < <(awk '
  /^test result:/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^failed/) f += $(i-1) } next }
  /^[=]*[ ]*[0-9]+ (passed|failed|error).* in [0-9.]+s/ {
    for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^(failed|error)/) f += $(i-1) } }
  END { printf "%d %d\n", p, f }' "$out")
# A runner that died without a count is a failure of its own.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
echo "$passed passed, $failed failed"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]

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

read -r passed failed < <(awk -f tests/count.awk "$out")
# A runner that died without a count is a failure of its own.
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
echo "$passed passed, $failed failed"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]

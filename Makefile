# Bare `make` lists the targets. They are CI's jobs, in the same words.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo
PYTHON ?= python3
DEMO_SECONDS ?= 20
E2E_SECONDS ?= 20
PG ?= 18
KILLS ?= 200
VENV := target/venv
DENY_VERSION := 0.20.2

.PHONY: help build demo e2e test test-rust test-python test-live nightly services services-stop services-clean lint deny audit fmt bench bench-peers bench-path vectors clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

build: ## build the binary target/debug/govbridge and the demo
	$(CARGO) build --locked -p bridge-cli -p deploy-demo

demo: build ## run the whole path on this machine for DEMO_SECONDS (20), then tamper with copies of it
	DEMO_SECONDS=$(DEMO_SECONDS) target/debug/govbridge-demo

e2e: build ## the same on a real PostgreSQL and a real Kafka, apart from those of `make services`, for E2E_SECONDS (20)
	@PG=$(PG) deploy/dev/e2e.sh --seconds $(E2E_SECONDS)

test: ## run every test there is; the last line adds up all runners
	@tests/run.sh

nightly: ## the long forms: PostgreSQL 14 to 18, KILLS=200 kills of each process and of the servers, the model's longer walks
	@KILLS=$(KILLS) tests/nightly.sh

test-rust: ## run the Rust tests only
	$(CARGO) test --locked --workspace

$(VENV)/ready: tests/interop/reader/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/interop/reader/requirements.txt
	touch $@

test-python: $(VENV)/ready ## run the second reader, in Python, over the vectors
	$(VENV)/bin/python -m pytest -q tests/interop/reader

test-live: $(VENV)/ready ## run it over what a connector sent: the dumps that GOVBRIDGE_DUMP names
	$(VENV)/bin/python -m pytest -q tests/interop/live

services: ## start PostgreSQL (PG=18) and Kafka on loopback under target/services; the file state there says their ports
	@PG=$(PG) deploy/dev/services.sh up

services-stop: ## end exactly the servers that `make services` started
	@deploy/dev/services.sh down

services-clean: ## end them, and forget what they kept and what deploy/dev/prepare.sh made for them
	@deploy/dev/services.sh clean

lint: fmt deny ## formatting, clippy, licences and sources
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## check the formatting
	$(CARGO) fmt --all --check

target/tools/bin/cargo-deny:
	$(CARGO) install cargo-deny --version $(DENY_VERSION) --locked --debug --root target/tools --target-dir target/tools/build
	rm -rf target/tools/build

deny: target/tools/bin/cargo-deny ## check licences, bans and sources of what came into the house
	target/tools/bin/cargo-deny --log-level error check licenses bans sources

audit: target/tools/bin/cargo-deny ## check advisories too (needs the advisory database)
	target/tools/bin/cargo-deny check advisories

bench: ## measure the whole path on real servers (ROWS=1000000), as text and in target/bench/bench.json
	$(CARGO) build --locked --release -p bridge-cli -p tests-figures
	target/release/figures

bench-peers: ## the same three times over, with Debezium in turn, and the noise
	$(CARGO) build --locked --release -p bridge-cli -p tests-figures
	target/release/figures peers

bench-path: ## Criterion for each stage, and CPU time a row from memory through encode, seal, verify, open
	$(CARGO) bench --locked -p tests-bench

vectors: ## write the vectors anew from the code (they are committed; a test compares them)
	GOVBRIDGE_WRITE_VECTORS=1 $(CARGO) test --locked --workspace vectors

clean: ## remove everything that was built
	rm -rf target .demo

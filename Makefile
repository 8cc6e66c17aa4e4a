SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build demo demo-down test lint bench dist dist-check book

# The binary is static glibc, which only the explicit GNU target gives (.cargo/config.toml).
TARGET ?= $(shell uname -m)-unknown-linux-gnu

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

build: ## build the static release binary
	@scripts/setup.sh rust
	cargo build --release --locked --target $(TARGET)
	@echo "built target/$(TARGET)/release/bottle"

demo: ## set the machine up and show a bottle at work
	@scripts/demo.sh

demo-down: ## remove everything that the demo left running
	@scripts/demo.sh down

# Exit code 3 of the set-up: no engine can be had here. The tests that need one say that they were skipped.
test: ## set the machine up and run every test
	@rc=0; scripts/setup.sh all || rc=$$?; \
	if (( rc != 0 && rc != 3 )); then exit $$rc; fi; \
	scripts/test.sh

lint: ## formatting, clippy, shellcheck, cargo-deny
	@scripts/setup.sh rust host-tools
	cargo fmt --check
	cargo clippy --locked --all-targets --package bottle --package bottle-fuzz --no-default-features -- -D warnings
	scripts/lint.sh

bench: ## compare with other programs on this machine
	@scripts/setup.sh all bench
	@. scripts/env.sh; bench/run.sh

dist: ## build a release into target/dist
	@scripts/setup.sh rust
	@scripts/dist.sh

dist-check: ## build it twice and compare every file
	@scripts/setup.sh rust
	@scripts/dist.sh check

book: ## build the book into target/book
	@scripts/setup.sh book
	@. scripts/env.sh; mdbook build docs
	@echo "built target/book/index.html"

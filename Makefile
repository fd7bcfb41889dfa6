# Two commands matter: `make serve` starts Reprise, `make test` runs every check and test.
# Both set up what they need, and do again only what changed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .make
ARGS ?=

RUST_SOURCES := $(shell find media/native/src media/native/Cargo.toml media/native/Cargo.lock)
WEB_SOURCES := $(shell find gateway/web -type f -not -path '*/test/*') package.json package-lock.json

.PHONY: help build serve test check lint test-rust test-web test-python fuzz bench clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

build: $(STAMPS)/native $(STAMPS)/web ## Set up everything that serving needs

serve: build ## Start Reprise (ARGS='--help' lists the settings)
	@exec $(BIN)/reprise serve $(ARGS)

test: check lint test-rust test-web test-python ## Run every check and test

# What serving needs: a virtual environment with the package in it, and the pages.

$(STAMPS)/venv: | $(STAMPS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Reprise needs Python 3.11 or later; set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "install python3-venv, then run make again"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' 'maturin>=1.16,<2'
	@touch $@

$(STAMPS)/native: $(STAMPS)/venv pyproject.toml $(RUST_SOURCES)
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --quiet
	@touch $@

$(STAMPS)/node: package.json package-lock.json | $(STAMPS)
	npm ci --no-audit --no-fund --silent
	@touch $@

$(STAMPS)/web: $(STAMPS)/node $(WEB_SOURCES)
	npm run --silent build
	@touch $@

# What the tests need beyond that.

$(STAMPS)/test-needs: $(STAMPS)/native pyproject.toml tests/install-needs
	$(BIN)/python -m pip install --quiet --group test
	tests/install-needs
	@touch $@

check: build $(STAMPS)/test-needs

lint:
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	npm run --silent lint
	cargo fmt --check --manifest-path media/native/Cargo.toml
	cargo clippy --quiet --manifest-path media/native/Cargo.toml --all-targets -- -D warnings

test-rust: ## Test the native core, and fuzz what parses packets for a moment
	cargo test --quiet --manifest-path media/native/Cargo.toml
	$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=5

FUZZ_SECONDS ?= 60
fuzz: ## Fuzz each parser that faces the network for FUZZ_SECONDS
	media/native/fuzz/run $(FUZZ_SECONDS)

test-web: ## Test the pages' modules
	npm test --silent

test-python: ## Test everything else, with real browsers
	$(BIN)/python -m pytest

bench: build ## Measure
	$(BIN)/python -m bench

clean: ## Remove what the build made; data stays
	rm -rf $(VENV) $(STAMPS) node_modules gateway/static media/_native*.so media/native/target

$(STAMPS):
	@mkdir -p $@

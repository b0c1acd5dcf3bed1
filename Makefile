# Two commands do all the set-up: `make run` and `make test`. Both install what is missing first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CHROMIUM := $(shell command -v chromium 2>/dev/null)

.PHONY: run test test-fast check bench screenshots clean

run: $(STAMP)            ## train the notebook's rows and the penguins, and say where the reports are
	$(BIN)/gd run --preset notebook
	$(BIN)/gd run gd/datasets/penguins.csv --target body_mass_g

test: $(STAMP) browser   ## every test
	$(BIN)/pytest

test-fast: $(STAMP)      ## no server, no browser
	$(BIN)/pytest -m "not server and not browser"

check: $(STAMP)          ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)          ## measure, side by side in one run, into tests/benchmarks/RESULTS.md
	$(BIN)/python -m tests.benchmarks

screenshots: $(STAMP) browser
	$(BIN)/python -m tests.screenshots

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gd needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Debian's Chromium opens the reports in the tests. Without it and without root those tests skip and say so.
.PHONY: browser
browser:
ifeq ($(CHROMIUM),)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else echo "Chromium is missing: apt-get install chromium (as root). The browser tests will skip."; fi
endif

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

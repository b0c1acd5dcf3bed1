# Two commands do all the set-up: `make run` and `make test`. Both install what is missing first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STAMP_BENCH := $(VENV)/.installed-bench
STAMP_FUZZ := $(VENV)/.installed-fuzz
FUZZ_SECONDS ?= 600
CHROMIUM := $(shell command -v chromium 2>/dev/null)
POSTFIX := $(wildcard /usr/sbin/postfix)
POSTGRES := $(wildcard /usr/lib/postgresql/*/bin/initdb)
INSTALL := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends

.PHONY: run test test-fast check bench fuzz screenshots clean

run: $(STAMP)            ## train the notebook's rows and the penguins, and say where the reports are
	$(BIN)/gd run --preset notebook
	$(BIN)/gd run gd/datasets/penguins.csv --target body_mass_g

test: $(STAMP) browser postfix postgres  ## every test; three files at a time, since much of it is waiting
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test-fast: $(STAMP)      ## no server, no browser, nothing slow
	$(BIN)/pytest -n 2 --dist worksteal -m "not server and not browser and not slow"

check: $(STAMP)          ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP_BENCH)    ## measure, side by side in one run, into tests/benchmarks/RESULTS.md; some of it: SECTIONS="peers scale"
	$(BIN)/python -m tests.benchmarks $(SECTIONS)

fuzz: $(STAMP_FUZZ)      ## search for bytes that the CSV reader stumbles over; fails where it does, and leaves them in .fuzz/findings
	GD_TEST_DAMAGE=1112 $(BIN)/pytest -q tests/test_damage.py
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

screenshots: $(STAMP) browser
	$(BIN)/python -m tests.screenshots

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gd needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# What the project is held against, in the same environment and under the same constraints.
$(STAMP_BENCH): $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	touch $@

$(STAMP_FUZZ): $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,fuzz]'
	touch $@

# Debian's Chromium opens the reports in the tests. Without it and without root those tests skip and say so.
.PHONY: browser
browser:
ifeq ($(CHROMIUM),)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else echo "Chromium is missing: apt-get install chromium (as root). The browser tests will skip."; fi
endif

# Debian's Postfix takes one message in the tests. "No configuration": then it starts nowhere but in them.
.PHONY: postfix
postfix:
ifeq ($(POSTFIX),)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections && \
	    apt-get update -qq && $(INSTALL) postfix >/dev/null; \
	else echo "Postfix is missing: apt-get install postfix (as root). Its test will skip."; fi
endif

# Debian's PostgreSQL, which the tests start themselves. Its package would also make and start a cluster of its own: it is
# told not to, before it comes.
.PHONY: postgres
postgres:
ifeq ($(POSTGRES),)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && $(INSTALL) postgresql-common >/dev/null && \
	    sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf && \
	    $(INSTALL) postgresql >/dev/null; \
	else echo "PostgreSQL is missing: apt-get install postgresql (as root). Its tests will skip."; fi
endif

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .fuzz

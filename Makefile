# What a developer calls; CI calls the same names. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup lint size secure quick check test warm test-long fix docs written demo example bench faults drills servers lock wheels build clean

# The system's own Python, if it can make environments; else the first on the path that runs and is new enough. What was
# compiled without a profile, as pyenv does unless it is told, takes a third longer for everything.
# Another one: make setup PYTHON=/path/to/python
PYTHON ?= $(shell for p in /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3.13; do \
	$$p -c 'import ensurepip' >/dev/null 2>&1 && { echo $$p; exit; }; done; \
	for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
READY := .venv/.ready
CORE := .venv/.core
# Examples that mypy reads with all else (pyproject.toml); it takes two seconds for each other one.
READ_TOGETHER := $(patsubst %,examples/%/,cookbook handbook orders)
# Bytecode is kept, or each process would compile all of it again.
unexport PYTHONDONTWRITEBYTECODE

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## make .venv with the development tools (2.3 GB); needs only Python 3.11 or newer and make
	@echo "ready: $(BIN)/shroff. To type just 'shroff' in this shell: . $(BIN)/activate"

$(READY): requirements/dev.txt pyproject.toml tools/bootstrap.py
	@test -n "$(PYTHON)" || { echo "make setup: no Python 3.11 or newer on the path; install one, or name it: make setup PYTHON=..." >&2; exit 1; }
	@$(PYTHON) tools/bootstrap.py
	@touch $@ $(CORE)

# The program alone, where development has not set up more.
$(CORE): requirements/core.txt requirements/build.txt pyproject.toml tools/bootstrap.py
	@test -n "$(PYTHON)" || { echo "make demo: no Python 3.11 or newer on the path; install one, or name it: make demo PYTHON=..." >&2; exit 1; }
	@$(PYTHON) tools/bootstrap.py core
	@touch $@

lint: $(READY)  ## check format, lint, layers and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports
	$(BIN)/mypy
	@for one in $(filter-out $(READ_TOGETHER),$(sort $(dir $(wildcard examples/*/*.py)))); do MYPYPATH=examples:$$one $(BIN)/mypy $$one || exit 1; done

size: $(READY)  ## hold the code lines and tokens of all that ships against the ceiling beside this clone
	@if test -f ../shared/tools/size.py; then $(BIN)/python ../shared/tools/size.py; \
	else echo "make size: no ceiling lies beside this clone; nothing was measured"; fi

secure: $(READY)  ## ask about known vulnerabilities of dependencies; lint finds dangerous code
	$(BIN)/python -m tools.secure

quick: $(READY)  ## the quick tests, without servers
	$(BIN)/python -m tools.suite --quick

check: $(READY)  ## lint, size, secure and quick, at the same time
	@$(MAKE) --no-print-directory -j4 lint size secure quick

test: $(READY)  ## each promise of the product once, with real servers and a browser; 7 to 11 minutes on 2 cores
	$(BIN)/python -m tools.suite

warm: $(READY)  ## compile what a first run of the tests would compile
	$(BIN)/python -m tools.suite --warm

test-long: $(READY)  ## all tests, with campaigns of faults, laws and real data: hours. In parts: make test-long PART="laws web"
	$(BIN)/python -m tools.suite --long $(addprefix tests/,$(PART))

fix: $(READY)  ## format and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)  ## write the reference that is made from the program, and build the documentation site in dist/site
	$(BIN)/python docs/build.py
	$(BIN)/python docs/site.py

written: $(READY)  ## write all files that are made from the program: reference, clients, lists of what others rely on
	$(BIN)/python docs/build.py
	$(BIN)/python -m tools.clients
	$(BIN)/python -m tests.architecture.test_public_api
	$(BIN)/python -m tests.golden --write

demo: $(CORE)  ## a synthetic bank: payments stream in, cases appear; ends with a URL to open (installs the program alone)
	@$(BIN)/shroff demo $(ARGS)

example: NAME ?= kafka-paysim
example: $(READY)  ## an example by one command: make example NAME=ulb, savings-app, orders, cards-mongo or kafka-paysim
	@$(BIN)/python examples/$(NAME)/run.py

bench: NAME ?= ingest
bench: $(READY)  ## measure ingest; writes a table with machine, commit and input. Another one of bench/: make bench NAME=service
	$(BIN)/python -m bench.$(NAME) $(ARGS)

faults: $(READY)  ## 500 faults on the log, brokers and stores, and more on sources; writes the table to bench/results. Fewer: make faults COUNT=100
	$(BIN)/python -m tools.faults $(COUNT)

drills: $(READY)  ## a service under load, its faults and their alerts; writes the table to bench/results
	$(BIN)/python -m tools.drills

servers: $(READY)  ## real servers on loopback until Ctrl-C: Kafka, PostgreSQL, ...; some only: make servers KINDS="kafka s3"
	@$(BIN)/python -m tools.servers $(KINDS)

lock: $(READY)  ## renew requirements/*.txt: the newest versions that fit
	$(BIN)/python -m tools.lock

wheels: $(READY)  ## check that every dependency has a wheel for Linux and macOS, Python 3.11 to 3.14 (asks the package index)
	@$(BIN)/python -m tools.wheels

build: $(READY)  ## the wheel of this platform, with the machine code of the kernels, in dist/
	SHROFF_KERNELS=1 NUMBA_CACHE_DIR= $(BIN)/hatchling build -t wheel

clean:  ## remove what the other targets made
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests bench docs tools -name __pycache__ -type d -prune -exec rm -rf {} +

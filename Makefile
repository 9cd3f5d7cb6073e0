# SPDX-License-Identifier: MIT
# The two commands of the README: `make image BOARD=Pynq-Z2` and `make test`.
# ENGINE selects where images are built: docker, host, or auto (docker if a daemon answers). `make setup`
# installs what the engine needs. PART selects a part of the acceptance tests, MINUTES limits its time.
BOARD ?= Pynq-Z2
ENGINE ?= auto
PYTHON := .venv/bin/python

.PHONY: help setup host image test acceptance acceptance-status torture unit lint fuzz bench lock schemas docs clean

help:
	@echo 'make image BOARD=Pynq-Z2   install what is missing, build the card image'
	@echo 'make unit                  run the unit tests: no root, no network, 1 min'
	@echo 'make test BOARD=Pynq-Z2    run linters and unit tests, open and boot the image: 20 min'
	@echo 'make acceptance            run all other tests, in parts (PART=NAME for one): hours'
	@echo 'make acceptance-status     show which parts passed on the present files'
	@echo 'make torture               inject faults: kills, full disks, damage, false mirrors (PART=NAME): 1 h'
	@echo 'make lint                  run ruff, mypy, import-linter, shellcheck and codespell'
	@echo 'make fuzz MINUTES=30       fuzz all parsers'
	@echo 'make bench                 run benchmarks: ratios against reference runs'
	@echo 'make setup                 create .venv; install host packages and qemu-user unless ENGINE is docker'
	@echo 'make lock                  update requirements.txt from pyproject.toml'
	@echo 'make schemas               generate the JSON Schemas and the reference pages'
	@echo 'make docs                  build the documentation site and check its links'

setup:
	@sh scripts/setup.sh $(ENGINE)

# Tests and benchmarks need the host's programs, whichever engine builds images.
host:
	@sh scripts/setup.sh host

image: setup
	$(PYTHON) build.py --board $(BOARD) --engine $(ENGINE)

test: lint unit
	$(PYTHON) -m pytest -v --durations=10 tests/programs tests/image tests/boot --board $(BOARD)

acceptance: host
	$(PYTHON) -m tests.acceptance run $(PART) $(if $(MINUTES),--minutes $(MINUTES))

acceptance-status: setup
	$(PYTHON) -m tests.acceptance status

# Needs root: it builds without containers, and mounts.
torture: host
	$(if $(filter-out 0,$(shell id -u)),sudo PYTHONDONTWRITEBYTECODE=1 )$(PYTHON) -m tests.torture $(PART) $(if $(MINUTES),--minutes $(MINUTES))

# Overrides PYTHONDONTWRITEBYTECODE: without cached bytecode, each worker compiles every module, which
# takes most of the collection's time.
unit: host
	PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest -v tests/unit tests/fuzz --numprocesses=auto --durations=10

lint: host
	$(PYTHON) -m pytest -v tests/lint

# atheris chooses inputs by coverage. It does not exist for every Python version; fuzzing works without.
fuzz: host
	-.venv/bin/uv pip install --quiet --python $(PYTHON) --require-hashes \
		--requirement tests/fuzz/requirements.txt
	$(PYTHON) -m tests.fuzz --minutes $(or $(MINUTES),30)

bench: host
	$(PYTHON) -m bench

lock: setup
	.venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.10 \
		--no-header --no-config --upgrade pyproject.toml --extra dev \
		--output-file requirements.txt

schemas: setup
	$(PYTHON) build.py schemas

docs: schemas
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

clean:
	rm -rf output .venv

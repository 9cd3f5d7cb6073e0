# SPDX-License-Identifier: MIT
# The two commands of the README: `make image BOARD=Pynq-Z2` and `make test`.
# ENGINE is where images are built: docker, host, or auto (docker where a daemon answers). `make setup`
# sets up what that needs. PART names a part of the acceptance; MINUTES is how long it may take.
BOARD ?= Pynq-Z2
ENGINE ?= auto
PYTHON := .venv/bin/python

.PHONY: help setup host image test acceptance acceptance-status torture unit lint fuzz bench lock schemas docs clean

help:
	@echo 'make image BOARD=Pynq-Z2   set up what is missing, build the card image'
	@echo 'make unit                  run the tests that need no root and no network: 1 min'
	@echo 'make test BOARD=Pynq-Z2    linters, unit tests, the image opened and booted: 20 min'
	@echo 'make acceptance            every other test, in parts (PART=NAME for one): hours'
	@echo 'make acceptance-status     say which parts passed on the present files'
	@echo 'make torture               kill builds, fill disks, damage the store, falsify mirrors (PART=NAME): 1 h'
	@echo 'make lint                  ruff, mypy, direction of imports, shellcheck, codespell'
	@echo 'make fuzz MINUTES=30       feed all parsers what they do not expect'
	@echo 'make bench                 measure this machine, as ratios against references'
	@echo 'make setup                 virtual environment; host packages and qemu-user, unless ENGINE is docker'
	@echo 'make lock                  update requirements.txt from pyproject.toml'
	@echo 'make schemas               write the schemas and the pages of the reference'
	@echo 'make docs                  build the documentation as a site, its links checked'

setup:
	@sh scripts/setup.sh $(ENGINE)

# Tests and measurements run programs of this machine, wherever images are built.
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

# Root's: builds without containers, and mounts.
torture: host
	$(if $(filter-out 0,$(shell id -u)),sudo PYTHONDONTWRITEBYTECODE=1 )$(PYTHON) -m tests.torture $(PART) $(if $(MINUTES),--minutes $(MINUTES))

# Bytecode is kept, whatever the environment says: without it, each worker compiles every module, which
# is most of the time of the collection.
unit: host
	PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest -v tests/unit tests/fuzz --numprocesses=auto --durations=10

lint: host
	$(PYTHON) -m pytest -v tests/lint

# Without atheris, which there is not for each Python, inputs are not chosen by coverage.
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
	.venv/bin/mkdocs build --strict

clean:
	rm -rf output .venv

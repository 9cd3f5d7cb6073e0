# SPDX-License-Identifier: MIT
# The two commands of the README: `make image BOARD=Pynq-Z2` and `make test`.
# ENGINE is where images are built: docker, host, or auto (docker where a daemon answers). `make setup`
# sets up what that needs.
BOARD ?= Pynq-Z2
ENGINE ?= auto
PYTHON := .venv/bin/python

.PHONY: help setup host image test acceptance unit lint bench lock schemas docs clean

help:
	@echo 'make image BOARD=Pynq-Z2   set up what is missing, build the card image'
	@echo 'make test                  run every test: unit, image, boot'
	@echo 'make acceptance            the long tests: boards out of exports and of sdbuild; roots built emulated'
	@echo 'make unit                  run the tests that need no root and no network'
	@echo 'make lint                  ruff, mypy, direction of imports'
	@echo 'make bench                 measure this machine, as ratios against references'
	@echo 'make setup                 virtual environment; host packages and qemu-user, unless ENGINE is docker'
	@echo 'make lock                  renew requirements.txt from requirements.in'
	@echo 'make schemas               write the schemas and the pages of the reference'
	@echo 'make docs                  build the documentation as a site, its links checked'

setup:
	@sh scripts/setup.sh $(ENGINE)

# Tests and measurements run programs of this machine, wherever images are built.
host:
	@sh scripts/setup.sh host

image: setup
	$(PYTHON) build.py --board $(BOARD) --engine $(ENGINE)

test: host
	$(PYTHON) -m pytest

acceptance: host
	$(PYTHON) -m pytest tests/acceptance

unit: host
	$(PYTHON) -m pytest tests/unit

lint: host
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: host
	$(PYTHON) -m bench

lock: setup
	.venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.10 \
		--no-header --no-config --upgrade requirements.in --output-file requirements.txt

schemas: setup
	$(PYTHON) build.py schemas

docs: schemas
	.venv/bin/mkdocs build --strict

clean:
	rm -rf output .venv

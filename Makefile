# SPDX-License-Identifier: MIT
# The two commands of the README: `make image BOARD=Pynq-Z2` and `make test`.
# ENGINE is where `make image` builds: docker, host, or auto (docker where a daemon answers).
BOARD ?= Pynq-Z2
ENGINE ?= auto
PYTHON := .venv/bin/python

.PHONY: help setup image test acceptance unit lint bench lock schemas docs clean

help:
	@echo 'make image BOARD=Pynq-Z2   set up what is missing, build the card image'
	@echo 'make test                  run every test: unit, image, boot'
	@echo 'make acceptance            the long tests: boards out of exports and of sdbuild; roots built emulated'
	@echo 'make unit                  run the tests that need no root and no network'
	@echo 'make lint                  ruff, mypy, direction of imports'
	@echo 'make bench                 measure this machine, as ratios against references'
	@echo 'make setup                 host packages, virtual environment, qemu-user'
	@echo 'make lock                  renew requirements.txt from requirements.in'
	@echo 'make schemas               write the schemas and the pages of the reference'
	@echo 'make docs                  build the documentation as a site, its links checked'

setup:
	@sh scripts/setup.sh

image:
	@sh scripts/setup.sh $(ENGINE)
	$(PYTHON) build.py --board $(BOARD) --engine $(ENGINE)

test: setup
	$(PYTHON) -m pytest

acceptance: setup
	$(PYTHON) -m pytest tests/acceptance

unit: setup
	$(PYTHON) -m pytest tests/unit

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup
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

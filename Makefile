# `make serve` and `make test` do all their own set-up: a machine needs Python >= 3.11, git and make.
PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= .ci/constraints.txt

.PHONY: serve test lint bench web clean

serve: $(VENV)/installed app/web/dist/index.html
	$(BIN)/fieldflux serve --host $(HOST) --port $(PORT)

test: $(VENV)/installed-dev app/web/dist/index.html
	$(BIN)/pytest

lint: $(VENV)/installed-dev
	@mkdir -p $(VENV)/src && ln -sfn "$(CURDIR)" $(VENV)/src/fieldflux
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p fieldflux.models -p fieldflux.tiles -p fieldflux.app
	$(BIN)/lint-imports

bench: $(VENV)/installed-dev
	$(BIN)/pytest -s --override-ini addopts= tests/benchmarks

web: app/web/dist/index.html

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[web]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[web,dev]'
	@touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) app/web/dist app/web/node_modules build *.egg-info

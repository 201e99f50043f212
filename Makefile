# The two commands of the README: make demo, make test. Both set up what they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-oracle test-containers lint format docs docs-serve freeze clean train-setup

# Worker and server: what a lab installs. No torch. A .venv without pip is left behind where Debian's python3-venv is missing: made again.
$(VENV)/.server: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("xtalgrid needs Python 3.11 or 3.12; set PYTHON=python3.12" if not (3, 11) <= sys.version_info < (3, 13) else 0)'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[server]'
	@touch $@

# What tests and linters need; postgres for the databases' tests, freeze for the frozen worker's.
$(VENV)/.dev: $(VENV)/.server
	$(PIP) --editable '.[server,postgres,oracle,boinc,freeze,dev]'
	@touch $@

# The networks' part: 1.4 GB with a CPU build of torch. Only when asked for; its tests are skipped where it is missing.
$(VENV)/.train: $(VENV)/.dev
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[server,postgres,oracle,boinc,dev,train]'
	@touch $@

# The documentation's site.
$(VENV)/.docs: $(VENV)/.server
	$(PIP) --editable '.[server,docs]'
	@touch $@

demo: $(VENV)/.server
	$(BIN)/xtalgrid --home xtalgrid-data/demo demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

# On a live Oracle: make test-oracle ORACLE_URL='oracle+oracledb://user:password@host/?service_name=x' (docs/imager-databases.md).
test-oracle: $(VENV)/.dev
	@if [ -n "$$ORACLE_URL" ]; then $(BIN)/python -m pytest tests/system/test_oracle.py $(ARGS); else echo "skipped: ORACLE_URL is not set"; fi

# On a whole Debian in a container, as root: systemd's and cron's services (docs/service.md). Minutes; needs systemd-container and debootstrap.
test-containers: $(VENV)/.dev
	$(BIN)/python -m pytest -m containers $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The reference (docs/reference/) from the code, then the site, into site/: open site/index.html, or publish the folder.
docs: $(VENV)/.docs
	$(BIN)/python scripts/make_reference.py
	$(BIN)/mkdocs build --strict

# The same at http://127.0.0.1:8000/, renewed whenever a page of docs/ is saved.
docs-serve: $(VENV)/.docs
	$(BIN)/mkdocs serve --livereload

# The worker as one file and as one folder, in dist/: worker/README.md. In an environment of its own, with nothing in it that is not meant.
freeze: $(VENV)-freeze/.freeze
	$(VENV)-freeze/bin/python scripts/freeze.py $(ARGS)

$(VENV)-freeze/.freeze: pyproject.toml worker/freeze.lock
	test -x $(VENV)-freeze/bin/pip || $(PYTHON) -m venv $(VENV)-freeze
	$(VENV)-freeze/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r worker/freeze.lock
	$(VENV)-freeze/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

train-setup: $(VENV)/.train

clean:
	rm -rf $(VENV) $(VENV)-freeze build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis xtalgrid-data

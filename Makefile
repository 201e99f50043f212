# The two commands of the README: make demo, make test. Both set up what they need in .venv, by scripts/locks/.
# With LOCK= (make test LOCK=) they take the newest versions that pyproject.toml allows, in .venv-newest.

PYTHON ?= python3
LOCK ?= scripts/locks
VENV := $(if $(LOCK),.venv,.venv-newest)
BIN := $(VENV)/bin
SET_UP := @$(PYTHON) scripts/locks/set_up.py $(if $(LOCK),,--newest)

.PHONY: demo test test-fresh test-oracle test-containers lint format docs docs-serve freeze dist clean train-setup train-leg

# Worker and server: what a lab installs. No torch.
$(VENV)/.server: pyproject.toml scripts/locks/server.lock
	$(SET_UP) $(VENV) server
	@touch $@

# What tests, linters and documentation need.
$(VENV)/.dev: $(VENV)/.server scripts/locks/dev.lock
	$(SET_UP) $(VENV) dev
	@touch $@

# The networks' part: 1.4 GB with a CPU build of torch. Only when asked for; its tests are skipped where it is missing.
$(VENV)/.train: $(VENV)/.dev scripts/locks/all.lock
	$(SET_UP) $(VENV) train
	@touch $@

# What the worker is frozen with, and nothing that is not meant.
$(VENV)-freeze/.freeze: pyproject.toml scripts/locks/freeze.lock
	$(SET_UP) $(VENV)-freeze freeze
	@touch $@

demo: $(VENV)/.server
	$(BIN)/xtalgrid --home xtalgrid-data/demo demo

# Two processes, a file of tests to each: JOBS=0 for one alone, as for a debugger.
JOBS ?= 2
test: $(VENV)/.dev $(VENV)-freeze/.freeze
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

# A fresh clone of what is committed, on a bare Debian (as root): make test-fresh SUITE=trixie.
test-fresh:
	scripts/dev/test_fresh.sh $(or $(SUITE),bookworm)

# On a live Oracle: make test-oracle ORACLE_URL='oracle+oracledb://user:password@host/?service_name=x' (docs/imager-databases.md).
test-oracle: $(VENV)/.dev
	@if [ -n "$$ORACLE_URL" ]; then $(BIN)/python -m pytest tests/system/test_oracle.py $(ARGS); else echo "skipped: ORACLE_URL is not set"; fi

# What takes minutes to an hour, with its usual length unless ARGS says otherwise (docs/reliability.md).
.PHONY: fuzz faults soak
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.rig.fuzz_results $(ARGS)
	$(BIN)/python -m tests.rig.fuzz_images $(ARGS)

faults: $(VENV)/.dev
	$(BIN)/python -m tests.rig.fault_sweep $(ARGS)

soak: $(VENV)/.dev
	$(BIN)/python -m tests.rig.soak $(ARGS)

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
docs: $(VENV)/.dev
	$(BIN)/python docs/tools/make_reference.py
	$(BIN)/mkdocs build --strict

# The same at http://127.0.0.1:8000/, renewed whenever a page of docs/ is saved.
docs-serve: $(VENV)/.dev
	$(BIN)/mkdocs serve --livereload

# The worker as one file and as one folder, in dist/: worker/README.md.
freeze: $(VENV)-freeze/.freeze
	$(VENV)-freeze/bin/python scripts/freeze.py $(ARGS)

# What a release holds beside the frozen workers: wheel, source archive, and the lock that goes with them.
dist: $(VENV)/.dev
	$(BIN)/python -m build --no-isolation
	cp scripts/locks/server.lock dist/

train-setup: $(VENV)/.train

# One more leg of the classifier's long training, in the background if you like: make train-leg MINUTES=100 REAL=folder (docs/models.md).
MINUTES ?= 90
train-leg: $(VENV)/.train
	$(BIN)/python scripts/dev/train_leg.py --minutes $(MINUTES) $(if $(REAL),--real $(REAL)) $(ARGS)

clean:
	rm -rf .venv .venv-* build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis xtalgrid-data

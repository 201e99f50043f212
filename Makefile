# `make demo` and `make test` first install their packages into .venv, in the versions locked in scripts/locks/.
# With LOCK= (make test LOCK=) they install the newest versions that pyproject.toml allows, into .venv-newest.

PYTHON ?= python3
LOCK ?= scripts/locks
VENV := $(if $(LOCK),.venv,.venv-newest)
BIN := $(VENV)/bin
SET_UP := @$(PYTHON) scripts/locks/set_up.py $(if $(LOCK),,--newest)

# Hundreds of short Python processes run in tests: without this, each compiles all of our modules anew where it is set.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fresh test-oracle test-containers lint format docs docs-serve freeze dist clean train-setup train-leg network-tables

# Worker and server, as a lab installs them, without torch.
$(VENV)/.server: pyproject.toml scripts/locks/server.lock
	$(SET_UP) $(VENV) server
	@touch $@

# Packages for tests, linters and documentation.
$(VENV)/.dev: $(VENV)/.server scripts/locks/dev.lock
	$(SET_UP) $(VENV) dev
	@touch $@

# Packages for training: 1.4 GB with a CPU build of torch. Optional; without them, the tests of training are skipped.
$(VENV)/.train: $(VENV)/.dev scripts/locks/all.lock
	$(SET_UP) $(VENV) train
	@touch $@

# Only the packages that the worker is frozen with.
$(VENV)-freeze/.freeze: pyproject.toml scripts/locks/freeze.lock
	$(SET_UP) $(VENV)-freeze freeze
	@touch $@

demo: $(VENV)/.server
	$(BIN)/xtalgrid --home xtalgrid-data/demo demo

# Runs the test files in two processes, the longest first (tests/conftest.py); JOBS=0 for a single one, for example to
# use a debugger. As tests wait half of their time, .ci/run takes two more than there are cores.
JOBS ?= 2
test: $(VENV)/.dev $(VENV)-freeze/.freeze
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Tests a fresh clone of the last commit on a bare Debian (as root): make test-fresh SUITE=trixie.
test-fresh:
	scripts/dev/test_fresh.sh $(or $(SUITE),bookworm)

# Tests with a live Oracle database: make test-oracle ORACLE_URL='oracle+oracledb://user:password@host/?service_name=x'
# (docs/imager-databases.md).
test-oracle: $(VENV)/.dev
	@if [ -n "$$ORACLE_URL" ]; then $(BIN)/python -m pytest tests/system/test_oracle.py $(ARGS); else echo "skipped: ORACLE_URL is not set"; fi

# Tests with other programs' own code, which no package index has (docs/exchange.md):
# make test-peers POLO=checkout/src POLO_PYTHON=venv/bin/python ANNOTATION_PYTHON=venv/bin/python
# make test-peers ISPYB=ispyb-database/schemas/ispyb SYNCHWEB=SynchWeb/api/src
# With ISPYB, the tests of ISPyB run on the real schema.
.PHONY: test-peers
test-peers: $(VENV)/.dev
	XTALGRID_POLO=$(abspath $(POLO)) XTALGRID_POLO_PYTHON=$(abspath $(POLO_PYTHON)) XTALGRID_ISPYB_SCHEMA=$(abspath $(ISPYB)) \
	XTALGRID_ANNOTATION_PYTHON=$(abspath $(ANNOTATION_PYTHON)) XTALGRID_SYNCHWEB=$(abspath $(SYNCHWEB)) \
	$(BIN)/python -m pytest tests/peers $(if $(ISPYB),tests/server/ispyb tests/system/test_ispyb.py) $(ARGS)

# Stress tests that take minutes to an hour; ARGS changes their length (docs/reliability.md).
.PHONY: fuzz faults soak typing
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.rig.fuzz_results $(ARGS)
	$(BIN)/python -m tests.rig.fuzz_images $(ARGS)

faults: $(VENV)/.dev
	$(BIN)/python -m tests.rig.fault_sweep $(ARGS)

soak: $(VENV)/.dev
	$(BIN)/python -m tests.rig.soak $(ARGS)

typing: $(VENV)/.dev
	$(BIN)/python -m tests.rig.typing_matrix $(ARGS)

# Tests services under systemd and cron in a Debian container (docs/service.md), and the images of docker/, as root.
# Takes minutes; needs systemd-container, debootstrap and docker.io. With BOINC's base images, also docker/ the whole
# way, which takes half an hour (docs/boinc.md, In the containers).
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

# Generates docs/reference/ from the code, then the site in site/: open site/index.html, or publish the folder.
docs: $(VENV)/.dev
	$(BIN)/python docs/tools/make_reference.py
	$(BIN)/mkdocs build --strict

# Serves the site at http://127.0.0.1:8000/ and updates it whenever a page in docs/ is saved.
docs-serve: $(VENV)/.dev
	$(BIN)/mkdocs serve --livereload

# Freezes the worker as one file and one folder in dist/ (worker/README.md).
freeze: $(VENV)-freeze/.freeze
	$(VENV)-freeze/bin/python scripts/freeze.py $(ARGS)

# Builds the rest of a release: wheel, source archive, and lock.
dist: $(VENV)/.dev
	$(BIN)/python -m build --no-isolation
	cp scripts/locks/server.lock dist/

train-setup: $(VENV)/.train

# One more leg of the classifier's long training, in the background if you like (docs/models.md):
# make train-leg MINUTES=100 REAL=folder
train-leg: $(VENV)/.train
	$(BIN)/python scripts/dev/train_leg.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(REAL),--real $(REAL)) $(ARGS)

# Tables 2 and 3 for every network of the papers, in the background: half a day of one core, in as many parts as you
# like (docs/models.md): make network-tables REAL=folder IMAGENET=squeezenet1_1.npz MXNET=folder/env/bin/python
# WORK=folder MINUTES=40
network-tables: $(VENV)/.train
	$(BIN)/python scripts/dev/network_tables.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(REAL),--real $(REAL)) \
	$(if $(IMAGENET),--imagenet $(IMAGENET)) $(if $(MXNET),--mxnet $(MXNET)) $(if $(WORK),--work $(WORK)) $(ARGS)

# Leaves xtalgrid-data, which may hold people's scores; only the demo's goes.
clean:
	rm -rf .venv .venv-* build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis xtalgrid-data/demo

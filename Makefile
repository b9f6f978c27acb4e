# `make lab` opens the notebooks, `make test` runs the tests; each first sets up .venv by itself.

PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PIP := .venv/bin/python -m pip --disable-pip-version-check
START := /lab/tree/notebooks/start.ipynb
# idle OpenMP threads sleep instead of spinning: torch and numba share the cores
export OMP_WAIT_POLICY ?= passive
ARGS ?=
TESTS ?=

extras-lab := lab
extras-test := lab,test,peers,qm,distributed
extras-dev := dev

# $(call apt,PACKAGE): install a system package where root or password-free sudo allows it, else fail at once
apt = { [ "$$(id -u)" = 0 ] || sudo="sudo -n"; $$sudo true 2>/dev/null && $$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1); } </dev/null >&2

.PHONY: help lab test bench format lint chromium

help:
	@echo 'make lab      open JupyterLab on notebooks/start.ipynb          ARGS="--no-browser --port=9999"'
	@echo 'make test     run every test but the benchmarks                 TESTS="tests/unit -k soap"'
	@echo 'make bench    measure the kernels beside their peers            ARGS="soap --json"'
	@echo 'make format   format the code;  make lint   check it'
	@echo 'All of them set up .venv first (PYTHON=/path/to/python3 chooses the interpreter, 3.11 or newer).'

lab: .venv/installed-lab
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/jupyter lab --LabApp.default_url=$(START) \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

test: .venv/installed-test chromium
	@.venv/bin/python -m pytest --durations=15 $(TESTS)

bench: .venv/installed-test
	@.venv/bin/matterscape bench $(ARGS)

format: .venv/installed-dev
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lint: .venv/installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

chromium:
	@command -v chromium >/dev/null || { echo "Installing Chromium for the browser tests." && $(call apt,chromium); } || \
		echo "Chromium could not be installed, so the browser tests will be skipped." >&2

# The pip script is the last thing that a new environment gets, so an interrupted one is made again.
.venv/bin/pip:
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "No Python >= 3.11 was found; install one, or name it with PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
		$(call apt,$$package) || { \
		echo "Python's venv module is missing; run 'sudo apt-get install $$package' and try again." >&2; exit 1; }; }
	@$(PYTHON) -m venv --clear .venv

.venv/installed-%: pyproject.toml binder/constraints.txt binder/overrides.json | .venv/bin/pip
	@echo "Setting up .venv for 'make $*' (minutes the first time, nothing once it is there)."
	@$(PIP) install --constraint binder/constraints.txt hatchling && \
		$(PIP) install --constraint binder/constraints.txt --no-build-isolation --editable ".[$(extras-$*)]" || { \
		echo "The packages could not be installed; if the package index is out of reach, try again when online." >&2; \
		exit 1; }
	@install -D -m 644 binder/overrides.json .venv/share/jupyter/lab/settings/overrides.json
	@touch $@

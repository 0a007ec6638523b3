# `make run` and `make test` are for everybody, the other targets for developers: tests/README.md describes them.
PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
UV = VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv
# compile at installation where imports may not write bytecode, as in many containers: it saves a second per cycle
COMPILE = $(if $(PYTHONDONTWRITEBYTECODE),--compile-bytecode)
SYNC = $(UV) pip sync --quiet --require-hashes $(COMPILE)
LOCK = $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

NEWEST_UV = VIRTUAL_ENV=$(VENV)-newest $(VENV)/bin/uv

PYTEST_ALL = --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not slow"
# tests that need no database, no server and no process of their own
PURE = $(filter-out tests/benchmarks tests/end_to_end tests/flows tests/sources tests/storage,$(patsubst %/,%,$(wildcard tests/*/))) tests/test_*.py

export PREFECT_SERVER_ANALYTICS_ENABLED = false
export MLFLOW_DISABLE_TELEMETRY = true
export DO_NOT_TRACK = true

.PHONY: run test test-pure test-newest lint evidence bench accuracy ablation pretrain real training lock schema readme clean

run: $(VENV)/.run
	@$(VENV)/bin/nextperiod run milk

test: $(VENV)/.test lint
	$(VENV)/bin/pytest $(PYTEST_ALL)

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/uv
	$(SYNC) requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.test; touch $@

$(VENV)/.test: requirements-dev.lock requirements.lock pyproject.toml | $(VENV)/bin/uv
	$(SYNC) requirements-dev.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.run $@

lock: | $(VENV)/bin/uv
	$(LOCK) --output-file requirements.lock
	$(LOCK) --group dev --all-extras --constraint requirements.lock --output-file requirements-dev.lock

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-newest build dist

schema: $(VENV)/.test
	$(VENV)/bin/python -m tests.support.schema_snapshot

readme: $(VENV)/.test
	$(VENV)/bin/python -m tests.support.generated_readme

test-pure: $(VENV)/.test
	$(VENV)/bin/pytest --numprocesses 2 -m "not tensorflow and not slow" $(PURE)

# the newest releases that pyproject.toml allows, in an environment of their own; test_extras.py compares with the lock
test-newest: | $(VENV)/bin/uv
	$(PYTHON) -m venv --clear $(VENV)-newest
	$(NEWEST_UV) pip install --quiet --upgrade --requirement pyproject.toml --all-extras --group dev
	$(NEWEST_UV) pip install --quiet --no-deps --no-build-isolation --editable .
	$(VENV)-newest/bin/pytest $(PYTEST_ALL) --ignore tests/test_extras.py

evidence: $(VENV)/.test
	$(VENV)/bin/pytest --numprocesses 2 -m slow -rP --timeout 3600

# the libraries that training and forecasts are compared with have an environment of their own
bench: $(VENV)/.test $(VENV)-bench/.done
	$(VENV)/bin/python -W ignore -m tests.benchmarks.results --python $(VENV)-bench/bin/python

$(VENV)-bench/.done: tests/benchmarks/requirements.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

accuracy: $(VENV)/.test $(VENV)-bench/.done
	$(VENV)/bin/python -W ignore -m tests.benchmarks.accuracy
	$(VENV)/bin/python -W ignore -m tests.benchmarks.zero_shot
	$(VENV)/bin/python -W ignore -m tests.benchmarks.small_panels --python $(VENV)-bench/bin/python

ablation: $(VENV)/.test
	$(VENV)/bin/python -W ignore -m tests.benchmarks.ablation
	$(VENV)/bin/python -W ignore -m tests.benchmarks.generator

pretrain: $(VENV)/.test
	$(VENV)/bin/python -W ignore -m pipeline.pretraining.make

real: $(VENV)/.test
	$(VENV)/bin/python -W ignore -m tests.benchmarks.real

training: $(VENV)/.test
	$(VENV)/bin/python -W ignore -m tests.benchmarks.training

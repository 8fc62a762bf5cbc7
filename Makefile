# make demo   set up, then poisongen demo: synthetic scenes, a poisoned dataset, a page that shows what was done
# make test   set up, then every quick test, lint and type check
# make test-slow, make test-train   the slow tests, and those of the victim models
# make coverage   the quick tests, and what they run of the code
# make docs   the pages and docstrings as a site, in build/site
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow test-train test-loaders test-remote check clean
.PHONY: coverage docs

$(VENV)/.base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("poisongen needs Python 3.11 or newer; call make with PYTHON=python3.12, say" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.report: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[report]'
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.report
	$(BIN)/poisongen demo

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest -n 2 -m "not slow" --ignore tests/remote

# What takes longer: the slow tests, and those of the victim models, for which PyTorch is installed (several GB).
test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -m slow --ignore tests/victim --ignore tests/remote

$(VENV)/.train: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,train]' torchmetrics
	touch $@

test-train: $(VENV)/.train
	$(BIN)/python -m pytest -n 2 tests/victim

coverage: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -m "not slow" --cov --cov-report=term:skip-covered

$(VENV)/.docs: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

docs: $(VENV)/.docs
	$(BIN)/python docs/make_commands.py --check
	$(BIN)/python docs/make_site.py
# What people load datasets with (see docs/loaders.md). Three of them want another OpenCV than the one that is here, or
# compiled operators that no dataset uses, so that they come without what they ask for; the extra names the rest.
$(VENV)/.loaders: $(VENV)/.train
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,train,loaders]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		mmengine 'mmcv-lite>=2.0,<2.2' mmsegmentation ultralytics ultralytics-thop 'setuptools<81'
	touch $@

test-loaders: $(VENV)/.loaders
	POISONGEN_NEEDS_LOADERS=1 $(BIN)/python -m pytest -n 2 tests/loaders

# Engines and object stores of other machines, started here on loopback (see docs/scale.md).
$(VENV)/.remote: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,dask,ray,s3]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'moto[server]>=5.0' \
		"botocore==$$($(BIN)/python -c 'import botocore; print(botocore.__version__)')"  # what s3fs needs, no newer one
	touch $@

test-remote: $(VENV)/.remote
	POISONGEN_NEEDS_REMOTE=1 $(BIN)/python -m pytest tests/remote

clean:
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

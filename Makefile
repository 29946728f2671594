# make demo: set everything up and draw with the built-in models.   make test: set up what tests need and run them.

PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(wildcard plugins/*)
PROJECTS := pyproject.toml $(PLUGINS:%=%/pyproject.toml)
EDITABLE := $(PLUGINS:%=-e %)
# torch only ever comes at the tested version: a bare "torch" brings gigabytes of CUDA along.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint format docs images bench digits kjv digits-by-tokens clean

demo: .venv/ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/demo.sh

test: .venv/ready-to-test
	@# A thread each: two workers of two threads on two cores would wait for each other.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadscope $(ARGS)

lint: .venv/ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready-to-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site, from docs/ into site/.
docs: .venv/ready-to-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The images of README and docs, drawn anew.
images: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/images.sh

bench: .venv/ready-to-test
	$(BIN)/python -m benchmarks.listing
	$(BIN)/python -m benchmarks.diffusion $(ARGS)
	$(BIN)/python -m benchmarks.text
	$(BIN)/python -m benchmarks.imagegpt
	$(BIN)/python -m benchmarks.stylegan

# Train the built-in model ddpm-digits again; it goes to runs/, hours on two cores.
digits: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh plugins/zoo-ddpm/recipes/ddpm-digits.sh

# And gpt-kjv and imagegpt-digits.
kjv: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh plugins/zoo-gpt/recipes/gpt-kjv.sh

digits-by-tokens: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh plugins/zoo-gpt/recipes/imagegpt-digits.sh

clean:
	rm -rf .venv out

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 demo" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/ready: constraints.txt $(PROJECTS) | .venv/bin/python
	@echo "Installing the core and the plugins into .venv (a minute or two, once) ..."
	@$(PIP) -e . $(EDITABLE)
	@touch $@

.venv/ready-to-test: .venv/ready
	@echo "Installing what the tests need into .venv ..."
	@$(PIP) -e '.[test]' $(EDITABLE)
	@touch $@

# make demo: set everything up and run the built-in models.   make test: set up what tests need and run them.

PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(wildcard plugins/*)
PROJECTS := pyproject.toml $(PLUGINS:%=%/pyproject.toml)
EDITABLE := $(PLUGINS:%=-e %)
# Always the tested version of torch: a bare "torch" brings gigabytes of CUDA.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# One thread per worker: two workers of two threads would wait for each other on two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder

.PHONY: browser demo test test-quick lint format docs images wheels bench digits kjv digits-by-tokens clean

demo: .venv/ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/demo.sh

test: .venv/ready-to-test
	$(PYTEST) $(ARGS)

# Without the tests marked slow: for the inner loop.
test-quick: .venv/ready-to-test
	$(PYTEST) -m "not slow" $(ARGS)

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

# Make the images of README and docs again.
images: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/images.sh

# Wheels of the core and of all plugins, into dist/.
wheels: .venv/ready-to-test
	@for project in . $(PLUGINS); do \
	  (cd $$project && $(CURDIR)/$(BIN)/python -m hatchling build --target wheel --directory $(CURDIR)/dist) || exit 1; \
	done

bench: .venv/ready-to-test
	$(BIN)/python -m benchmarks.listing
	$(BIN)/python -m benchmarks.diffusion $(ARGS)
	$(BIN)/python -m benchmarks.text
	$(BIN)/python -m benchmarks.first_use
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.imagegpt
	$(BIN)/python -m benchmarks.stylegan
	$(BIN)/python -m benchmarks.aurasr

# Train the built-in model ddpm-digits again, into runs/; hours on two cores.
digits: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh plugins/zoo-ddpm/recipes/ddpm-digits.sh

# The same for gpt-kjv and imagegpt-digits.
kjv: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh plugins/zoo-gpt/recipes/gpt-kjv.sh

digits-by-tokens: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh plugins/zoo-gpt/recipes/imagegpt-digits.sh

# Debian's chromium, in which the tests of zoo-studio run; without one they are skipped.
browser:
	@command -v chromium >/dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends chromium; }

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

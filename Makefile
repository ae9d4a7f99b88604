# One command for each thing; the first makes the environment in .venv, later ones use it.
# Python 3.11 to 3.13 is all that has to be there; `make PYTHON=/path/to/python3.12 …` picks one.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# What is installed depends on these; the kernel is built at installation.
SOURCES := pyproject.toml constraints.txt $(wildcard hatch_build.py $(foreach depth,* */* */*/*,worker/engines/fused/src/$(depth)))

.PHONY: help demo test long browser check format reference bench sanitize wheel constraints clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

demo: $(VENV)/demo.stamp ## run the main job on real text, set-up included
	$(BIN)/unrolled demo demo-output

# Four at once, also on two cores: a test often waits for processes that it has started (9 minutes rather than 14).
test: $(VENV)/dev.stamp ## run the tests, but not the long ones
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal

long: $(VENV)/dev.stamp ## run the long tests too, for hours, and draw new random examples (pip install torch first)
	UNROLLED_LONG=1 HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest --numprocesses 4 --timeout 3600

browser: $(VENV)/dev.stamp ## fetch a headless Chromium for the report's tests (needs npm), where none is installed
	.ci/get_browser $(VENV)/browser

check: $(VENV)/dev.stamp ## check format, lint, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp ## measure the speed of each stage on this machine
	$(BIN)/python benchmarks/whole_path.py
	$(BIN)/python benchmarks/kernel.py

sanitize: $(VENV)/dev.stamp ## run the kernel's tests under the address, undefined-behaviour and thread sanitizers
	PYTHONPATH=. $(BIN)/python tests/worker/engines/fused/kernel/sanitize.py

wheel: $(VENV)/python.stamp ## make sdist and wheel in dist/, and try the wheel with each extra in an empty environment
	$(PIP) install build uv
	rm -rf dist
	UNROLLED_REQUIRE_KERNEL=1 $(BIN)/python -m build --installer uv --outdir dist .
	$(BIN)/python .ci/check_wheel.py dist/unrolled-*.whl

reference: $(VENV)/dev.stamp ## write docs/cli.md, the page of all commands, from the code
	$(BIN)/python -m producer.cli.reference > docs/cli.md

# No release goes back: left to itself the resolver takes the newest h5py and an older TensorFlow that allows it.
constraints: $(VENV)/python.stamp ## pin the newest releases that fit together
	$(PIP) install uv
	sed '/^#/d; s/==/>=/' constraints.txt > $(VENV)/floors.txt
	{ sed -n '/^#/p' constraints.txt && \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade \
	      --constraint $(VENV)/floors.txt --no-header --no-annotate pyproject.toml; } > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt

clean: ## remove what was made, except for the environment (rm -r .venv)
	rm -rf demo-output dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/demo.stamp: $(VENV)/python.stamp $(SOURCES)
	@echo "Installing what the demo needs into $(VENV): TensorFlow, and the engine, which is compiled if there is a C++ compiler. This takes some minutes."
	@$(PIP) install --constraint constraints.txt --editable '.[producer,worker,tensorflow]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/python.stamp $(SOURCES)
	@echo "Installing what checks and tests need into $(VENV): TensorFlow, and the engine, which is compiled if there is a C++ compiler. This takes some minutes."
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

# TensorFlow has wheels for these versions; Debian's Python comes without ensurepip unless asked for.
$(VENV)/python.stamp:
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  if "$$python" -c 'import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	      2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv --clear $(VENV) && touch $@; exit; \
	  fi; \
	done; \
	echo "No Python 3.11, 3.12 or 3.13 with venv and ensurepip among: $(or $(PYTHON),python3 python3.13" \
	  "python3.12 python3.11)." >&2; \
	echo "Install one (Debian, Ubuntu: apt install python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; \
	exit 1

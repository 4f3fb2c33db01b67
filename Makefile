# `make` alone lists what can be asked for. Everything runs in .venv; nothing needs to be activated.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test lint export report lab bench soak clean
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3.11
B := .venv/bin
READY := .venv/.ready
PROGRAMS := argo_alpine dashboards services tests nbs bench data docs
CACHES := .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache _proc _docs data/cache

# nbdev skips its work, silently, when a test runner has left this behind
unexport IN_TEST

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with everything in requirements.lock

# uv takes seconds where pip takes minutes; both check every hash in the lock. Bytecode is made now,
# as pip does: where Python may not keep any, each start would compile pandas and numba anew
$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null \
		|| { echo "$(PYTHON) is not here: install Python 3.11, or name it with make PYTHON=..." >&2; exit 1; }
	test -x $(B)/python || $(PYTHON) -m venv .venv
	@if command -v uv >/dev/null; then install="uv pip install --compile-bytecode --python $(B)/python"; \
	elif test -x $(B)/uv || $(B)/python -m pip install --quiet uv 2>/dev/null; then \
		install="$(B)/uv pip install --compile-bytecode --python $(B)/python"; \
	else install="$(B)/python -m pip install --disable-pip-version-check"; fi; \
	set -x; \
	$$install --quiet -r requirements.lock; \
	$$install --quiet --no-deps -e .
	$(B)/python -m compileall -q argo_alpine services dashboards \
		|| echo "bytecode of our own could not be kept: each start compiles it" >&2
	@touch $@

run: $(READY) ## start everything: sandbox, engine, Alpine, dashboard, and the report beside it
	$(B)/argo-alpine up

test: $(READY) ## run every test and every notebook
	$(B)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(READY) ## check style, types, import rules and that the notebooks are clean
	$(B)/ruff check
	$(B)/ruff format --check
	$(B)/mypy
	$(B)/lint-imports
	@copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; \
	cp -R settings.ini nbs "$$copy"; \
	(cd "$$copy"; "$(CURDIR)/$(B)/nbdev_clean"); \
	diff -r -x .ipynb_checkpoints -x __pycache__ nbs "$$copy/nbs" \
		|| { echo "these notebooks are not clean: run make export" >&2; exit 1; }

export: $(READY) ## write argo_alpine/ from nbs/, and clean the notebooks
	$(B)/nbdev_export
	$(B)/nbdev_clean

report: $(READY) ## render every report and the page that lists them; one with NAME=backtest
	$(B)/argo-alpine report $(or $(NAME),--all)

lab: $(READY) ## open the notebooks in JupyterLab
	$(B)/argo-alpine lab

bench: $(READY) ## measure backtests beside their peers, and the live cycle, on this machine
	$(B)/python -m bench.backtest
	$(B)/python -m bench.cycle

soak: $(READY) ## the storms that take too long for every run
	SOAK_KILLS=20 SOAK_DEATHS=2000 $(B)/python -m pytest tests/argo/test_kill.py tests/argo/test_crashes.py

clean: ## remove caches and data/cache, never a source or a report
	rm -rf $(CACHES)
	find $(wildcard $(PROGRAMS)) -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

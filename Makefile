.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

EXTRA ?= cpu
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.stamp-$(EXTRA)
LOCKS := requirements/$(EXTRA).txt requirements/dev.txt

.PHONY: help setup demo serve load test test-all two-nodes lint types locks clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  EXTRA=gpu installs the GPU packages instead of the CPU ones.'

setup: $(STAMP) ## Make the virtual environment, install the locks, prepare the models

$(STAMP): $(LOCKS) requirements/setup.sh
	@sh requirements/setup.sh $(VENV) $(EXTRA)
	@rm -f $(VENV)/.stamp-* && touch $@

demo: $(STAMP) ## Ingest a film catalogue, serve it, and walk through what it answers
	@$(PY) -m demo.walk

serve: $(STAMP) ## Serve until Ctrl-C: what is published, else the demo's films
	@$(PY) -m demo.prepare && $(PY) -m serve.up

load: $(STAMP) $(VENV)/.stamp-load ## Put 60 s of load on the local service, beside a no-op Serve app
	@$(PY) -m demo.prepare && $(PY) -m loadtest.run

$(VENV)/.stamp-load: requirements/load.txt | $(STAMP)
	@$(PY) -m pip --disable-pip-version-check install -qq --no-deps -r requirements/load.txt && touch $@

test: $(STAMP) ## Run the tests, but for the long ones
	@$(PY) -m pytest -m 'not long'

test-all: $(STAMP) ## Run every test
	@$(PY) -m pytest

two-nodes: $(STAMP) ## Run cluster.yaml on two Ray nodes of this machine, and tell what is seen
	@$(PY) -m pytest -s --durations=0 tests/e2e/test_two_nodes.py

lint: $(STAMP) ## Check style, formatting and import direction
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(VENV)/bin/lint-imports --no-cache

types: $(STAMP) $(VENV)/.stamp-load ## Check types
	@$(VENV)/bin/pyright

locks: $(STAMP) ## Resolve pyproject.toml anew into requirements/*.txt
	@$(PY) requirements/lock.py

clean: ## Remove the virtual environment, the caches and everything under var/
	@rm -rf $(VENV) var build *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis

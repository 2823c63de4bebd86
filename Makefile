# `make` alone lists what there is. Everything it builds lives in .venv and var/.

PYTHON ?= python3
PORT ?= 8000
DATA ?=
TAXONOMY ?=
DATASET ?=
ARGS ?=

BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.DEFAULT_GOAL := help
.PHONY: help setup run test lint bench screenshots lock clean

help: ## list the targets
	@echo "make run [DATA=folder] [TAXONOMY=name] [PORT=8000]   start Winnow, on the demo or on your own images"
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | grep -v '^run' | sed -E 's/^([a-z]+):[^#]*## (.*)/make \1: \2/'

setup: ## build .venv from the locks (well under a second when there is nothing to do)
	@$(PYTHON) scripts/setup.py

run: setup ## start Winnow
	@$(BIN)/python manage.py up --port "$(PORT)" $(if $(DATA),--import "$(DATA)") $(if $(TAXONOMY),--taxonomy "$(TAXONOMY)") $(if $(DATASET),--dataset "$(DATASET)")

test: setup ## run every test; ARGS="-k claims" passes options to pytest
ifdef WINNOW_TEST_POSTGRES_URL
	DATABASE_URL="$(WINNOW_TEST_POSTGRES_URL)" $(BIN)/python -m pytest -n auto -m "not slow" tests/labeling tests/reviewer $(ARGS)
endif
	$(BIN)/python -m pytest -n auto --cov --cov-report=term:skip-covered $(ARGS)

lint: setup ## ruff, mypy, the import contracts, and a check for forgotten migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

bench: setup ## run the measurements; ARGS="--quick" passes options on
	$(BIN)/python -m benchmarks $(ARGS)

screenshots: setup ## photograph the pages with the system's Chromium
	$(BIN)/python -m tests.browser.screenshots $(ARGS)

lock: setup ## renew both locks; ARGS=--upgrade takes the newest versions
	$(COMPILE) $(ARGS) requirements.in --output-file requirements.txt
	$(COMPILE) $(ARGS) requirements-dev.in --output-file requirements-dev.txt
	@if grep -nE '://|file:' requirements.txt requirements-dev.txt; then echo "expected a lock without addresses or local paths, got the lines above"; exit 1; fi

clean: ## remove .venv and caches, and keep var/
	rm -rf .venv .venv.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache htmlcov .coverage .coverage.*
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +

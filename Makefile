# The one task list. `make` alone says what there is; package.json only calls these.
# ARGS="…" is handed on: make demo ARGS="scenarios", make test-unit ARGS="-k ledger".

PYTHON  ?= python3
ARGS    ?=
BUILDER ?= docker
IMAGE   ?= gnanam/ai-gateway
TAG     ?= latest
VENV    := .venv/bin
GATEWAY := $(VENV)/ai-gateway

.DEFAULT_GOAL := help
.PHONY: help setup setup-run setup-dev demo serve dev orchestrate worker doctor \
        test test-unit test-integration test-sdks coverage lint format types bench storm crash race kills away disconnects build deploy clean

help: ## this list
	@echo "Targets (ARGS=\"…\" is handed on):"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

# -- set-up: each costs a fraction of a second when nothing changed ---------------------------------

setup: ## everything for work on this project, in .venv; tries again for missing optional parts
	@$(PYTHON) tools/setup.py --dev --retry

setup-run:
	@$(PYTHON) tools/setup.py

setup-dev:
	@$(PYTHON) tools/setup.py --dev

# -- run --------------------------------------------------------------------------------------------

demo: setup-run ## a real risk analysis from data to report (ARGS="scenarios", "training", "--keep")
	@$(GATEWAY) demo $(ARGS)

dev: setup-run ## development server: everything embedded, a fresh admin key, reloads
	@$(GATEWAY) serve --dev $(ARGS)

serve: setup-run ## production server
	@$(GATEWAY) serve $(ARGS)

orchestrate: setup-run ## the workflow orchestrator as a process of its own
	@$(GATEWAY) orchestrate $(ARGS)

worker: setup-run ## a Celery worker on the broker of CELERY_BROKER_URL
	@$(GATEWAY) worker $(ARGS)

doctor: setup-run ## what this machine can do, and every setting with its origin
	@$(GATEWAY) doctor $(ARGS)

# -- check ------------------------------------------------------------------------------------------

test: setup-dev ## every test: unit, then integration
	@$(VENV)/python tools/steps.py test $(ARGS)

test-unit: setup-dev ## unit tests
	@$(VENV)/python tools/steps.py unit $(ARGS)

test-integration: setup-dev ## integration tests
	@$(VENV)/python tools/steps.py integration $(ARGS)

test-sdks: setup-dev ## official SDKs against a running gateway; needs Node.js 20 and npm; not part of test
	@$(VENV)/python tools/steps.py sdks $(ARGS)

coverage: setup-dev ## every test, with coverage (htmlcov/)
	@$(VENV)/python tools/steps.py coverage $(ARGS)

lint: setup-dev ## ruff, formatting, mypy --strict, and the floors of ARCHITECTURE.md
	@$(VENV)/python tools/steps.py lint

types: setup-dev ## mypy --strict alone
	@$(VENV)/python tools/steps.py types

format: setup-dev ## format the code and mend what ruff can
	@$(VENV)/python tools/steps.py format

bench: setup-dev ## the benchmark (bench/run.py), and the speed of the ledger (bench/ledger_speed.py)
	@$(VENV)/python tools/steps.py bench $(ARGS)

storm: setup-dev ## kill processes at random through many workflows (bench/storm.py)
	@$(VENV)/python tools/steps.py storm $(ARGS)

crash: setup-dev ## kill a run at each of its points (bench/crash_points.py)
	@$(VENV)/python tools/steps.py crash $(ARGS)

race: setup-dev ## spend from the same caps with many clients in many processes (bench/overspend.py)
	@$(VENV)/python tools/steps.py race $(ARGS)

kills: setup-dev ## kill API processes with -9 at 2,000 calls a second (bench/kills.py)
	@$(VENV)/python tools/steps.py kills $(ARGS)

away: setup-dev ## the database, or Valkey, away for a minute under load (bench/away.py)
	@$(VENV)/python tools/steps.py away $(ARGS)

disconnects: setup-dev ## cut 500 streams at random bytes (bench/disconnects.py)
	@$(VENV)/python tools/steps.py disconnects $(ARGS)

# -- ship -------------------------------------------------------------------------------------------

build: ## the container image (BUILDER=docker|podman, IMAGE=…, TAG=…)
	$(BUILDER) build --tag $(IMAGE):$(TAG) $(ARGS) .

deploy: ## apply the Kubernetes manifests to the current context
	kubectl delete job ai-gateway-migrate --ignore-not-found
	kubectl apply --kustomize deploy/kubernetes $(ARGS)

clean: ## remove what can be made again (.venv and .gateway stay)
	rm -rf dist build htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# AquaSmart: every verb a developer or visitor needs. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
STATE ?= var
PORT ?= 8000
# Tests mostly wait for processes: two for each core.
JOBS ?= $(shell echo $$((2 * $$(nproc))))
# Each takes the whole machine.
EMULATED := tests/system/powercut tests/system/emulated tests/system/raspberry
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
export PORT STATE ROWS

.DEFAULT_GOAL := help
.PHONY: help setup run outage outage-over test test-unit check lint typecheck layers format bench deb hil-test manual translations test-system mutation soak power-cut screenshots package-check yocto-check image-smoke lock clean

help: ## List the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  \033[36m%-15s\033[0m %s\n", $$1, $$2}'

$(VENV)/run.stamp: requirements/build.txt requirements/station.txt requirements/panel.txt requirements/cloud.txt station/pyproject.toml cloud/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "AquaSmart needs Python 3.11 or later: no '$(PYTHON)' on the PATH. Install it, or say which: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "AquaSmart needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) -V). Say which to use: make PYTHON=/path/to/python3.11"; exit 1; }
	@[ -x $(BIN)/python ] || { echo "setup: creating $(VENV)"; $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python has no venv module: on Debian, apt-get install python3-venv"; exit 1; }; }
	@echo "setup: installing pinned packages"
	@$(PIP) --require-hashes -r requirements/build.txt
	@$(PIP) --require-hashes -r requirements/station.txt
	@$(PIP) --require-hashes -r requirements/panel.txt
	@$(PIP) --require-hashes -r requirements/cloud.txt
	@$(PIP) --no-build-isolation --no-deps -e station -e cloud
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	@echo "setup: installing test and check tools"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

setup: $(VENV)/dev.stamp ## Make .venv with everything pinned (run and test do this themselves)

run: $(VENV)/run.stamp ## Cloud + simulated meter + reader + sync, live; Ctrl-C stops, the next run resumes (PORT, STATE)
	@exec $(BIN)/python -m demo.run --state "$(STATE)" --port "$(PORT)"

outage: ## Cut the network between the running station and the cloud
	@$(BIN)/python -m demo.outage --state "$(STATE)" cut

outage-over: ## Restore it
	@$(BIN)/python -m demo.outage --state "$(STATE)" restore

test: $(VENV)/dev.stamp ## Every test this machine can run; says which it could not and why (JOBS=1: one after the other)
	@mkdir -p build && rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/python -m tests.twice --coverage --ignore tests/system $(if $(filter 1,$(JOBS)),,-n $(JOBS) --dist worksteal) $(ARGS)
	@$(BIN)/python -m coverage combine -q
	@$(BIN)/python -m coverage report --include='*/core/*,*/meters/*' --fail-under=95 > build/coverage/core.txt || { cat build/coverage/core.txt; echo "coverage of core/ and meters/ is below 95 %"; exit 1; }
	@$(BIN)/python -m coverage report --fail-under=85 > build/coverage/all.txt || { cat build/coverage/all.txt; echo "coverage is below 85 %"; exit 1; }
	@echo "coverage: core $$(awk '/^TOTAL/ {print $$NF}' build/coverage/core.txt), all $$(awk '/^TOTAL/ {print $$NF}' build/coverage/all.txt) (gates 95 % and 85 %)"

test-unit: $(VENV)/dev.stamp ## The fast half: pure cores, contract vectors
	@$(BIN)/python -m pytest tests/unit tests/contract $(ARGS)

deb: $(VENV)/run.stamp ## Debian packages of station and cloud (ONLY=station|cloud; cloud FOR=3.11|3.13: whose Python), build/deb
	@for p in $(or $(ONLY),station cloud); do $(BIN)/python -m deploy.deb.build $$p $(if $(FOR),--python $(FOR)) || exit 1; done

test-system: $(VENV)/dev.stamp ## The packages on a booted Debian: kills, full disk, cut network, sandbox, clock jumps, power cuts, a Raspberry Pi; build/system-report.md
	@mkdir -p build && rm -f build/system-report.jsonl
	@$(BIN)/python -m tests.twice tests/system $(EMULATED:%=--ignore %) $(if $(filter 1,$(JOBS)),,-n 2 --dist load) $(ARGS)
	@$(BIN)/python -m tests.twice $(EMULATED) $(ARGS)

check: lint typecheck layers package-check ## Everything static

lint: $(VENV)/dev.stamp ## ruff, and our own rules (signatures compared in one place, keys of growing tables)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m tests.lint

typecheck: $(VENV)/dev.stamp ## mypy --strict
	@$(BIN)/mypy

layers: $(VENV)/dev.stamp ## import-linter: pure core, layers, two packages that do not know each other
	@$(BIN)/lint-imports --no-cache

package-check: $(VENV)/dev.stamp ## Install each package alone and import all of it
	@bash tests/package_check.sh

format: $(VENV)/dev.stamp ## Format the code
	@$(BIN)/ruff check --fix-only -q . ; $(BIN)/ruff format -q .

bench: $(VENV)/dev.stamp ## Figures beside the naive scheme (ONLY=log|reader|sync|operations|ingest|growth|queries; growth: ROWS=100 million), build/bench.json
	@mkdir -p build && $(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

hil-test: $(VENV)/dev.stamp ## Accept a meter: PORT=/dev/serial/by-path/… or sim, METER=pulse|modbus (PROFILE, OPERATOR), build/hil/
	@$(BIN)/python -m tests.hil --port "$(if $(filter 8000,$(PORT)),,$(PORT))" --meter "$(METER)" $(if $(PROFILE),--profile $(PROFILE)) $(if $(OPERATOR),--operator "$(OPERATOR)") $(ARGS)

translations: $(VENV)/dev.stamp ## Renew the catalogues of translations from the source; says what a translator must do
	@$(BIN)/python -m deploy.translations

manual: $(VENV)/dev.stamp ## Renew man page and shell completions in station/share from the commands
	@mkdir -p station/share/man station/share/completions
	@$(BIN)/aquasmart manual > station/share/man/aquasmart.1
	@for s in bash zsh fish; do $(BIN)/aquasmart completion $$s > station/share/completions/aquasmart.$$s; done

mutation: $(VENV)/dev.stamp ## Mutation testing of both cores: a reported figure, build/mutation.json
	@mkdir -p build && bash tests/mutation.sh

power-cut: $(VENV)/dev.stamp ## Power cuts of an emulated station while it counts (CYCLES, SEED), build/power-cuts.md; needs root and QEMU
	@$(BIN)/python -m tests.system.powercut --cycles $(or $(CYCLES),20) $(if $(SEED),--seed $(SEED)) --report build/power-cuts.md

soak: $(VENV)/dev.stamp ## Random faults against the real processes, N sequences (N, SEED, FIRST, RESULTS, REPORT), build/soak.md
	@$(BIN)/python -m tests.soak --sequences $(or $(N),200) $(if $(SEED),--seed $(SEED)) $(if $(FIRST),--first $(FIRST)) $(if $(RESULTS),--results $(RESULTS)) --report $(or $(REPORT),build/soak.md)

yocto-check: $(VENV)/dev.stamp ## The Yocto layer on checkouts of the layers it builds on (ROOT=folder, MACHINES, STAGES), docs/yocto-check.md
	@$(BIN)/python -m tests.yocto $(if $(ROOT),--root "$(ROOT)") $(if $(MACHINES),--machines $(MACHINES)) $(if $(STAGES),--stages $(STAGES)) $(ARGS)

image-smoke: $(VENV)/dev.stamp ## Boot an image for qemuarm64: provision, count, update, roll back (IMAGE=….wic, KEYS=folder; without them a stand-in), build/image-smoke.json
	@$(BIN)/python -m tests.image $(if $(IMAGE),"$(IMAGE)") $(if $(KEYS),--keys "$(KEYS)") $(ARGS)

screenshots: $(VENV)/dev.stamp ## Renew the pictures in docs/ from the browser test
	@AQUASMART_SCREENSHOTS=docs/images $(BIN)/python -m pytest tests/browser -q

lock: ## Renew requirements/*.txt from *.in (needs uv; no index address is recorded)
	@cd requirements && for f in build station panel cloud dev; do uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --allow-unsafe --no-strip-extras $$f.in -o $$f.txt; done

clean: ## Remove .venv and build products; var/ (your station's log) stays
	@rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache mutants

# Everything a developer does here has one command, and each sees to its own set-up.
# Needs a Python ≥ 3.11; choose one with PYTHON=…; the logic stands in tools/.

.DEFAULT_GOAL := help
.PHONY: help setup simulate replay demo test coverage integration-test clients-test suspend-test check docs build chaos bench soak quiet pictures walk format lock clean

export PYTHON
VENV := .venv/bin
SETUP := @sh tools/setup.sh .venv dev
SCRIPTS := $(wildcard demo bench)
# More arguments for pytest, as in: make test T="-k breaker -x"
T ?=
# Processes for the unit tests: CI has two cores. A file stays in one process, so that its fixtures are made once.
WORKERS ?= 2
SEEDS ?= 200
SEED ?= 0

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | awk -F '\t' '{ printf "make %-18s %s\n", $$1, $$2 }'

setup: ## make .venv with everything locked, and .venv/bin/brum
	$(SETUP)

demo: ## two small real projects, one hub, one real client
	$(SETUP)
	@$(VENV)/python demo/demo.py

UNIT_TESTS = $(VENV)/pytest tests/unit --numprocesses $(WORKERS) --dist loadfile

test: ## the unit tests
	$(SETUP)
	@$(UNIT_TESTS) $(T)

# The same tests once, with a tracer: they take about twice as much processor time.
coverage: ## the unit tests, with the branches that they take; each package has a floor
	$(SETUP)
	@mkdir -p .coverage
	@$(UNIT_TESTS) --cov --cov-report json:.coverage/report.json $(T)
	@$(VENV)/python tools/floors.py .coverage/report.json

integration-test: ## other people's clients and the conformance suite against the real thing
	$(SETUP) integration
	@sh tools/integration_tools.sh
	@$(VENV)/pytest tests/integration $(T)

clients-test: ## MCP clients of other frameworks, each in an environment of its own; ONLY="…" selects
	$(SETUP)
	@$(VENV)/python -m tests.clients.run
	@test -n "$$ONLY" || $(VENV)/python -m tests.clients.coding_agents

suspend-test: ## a real suspend, in QEMU
	$(SETUP)
	@$(VENV)/python tests/suspend/run.py

docs: ## make the generated pages again
	$(SETUP)
	@$(VENV)/python tools/install_text.py
	@$(VENV)/python tools/promises.py
	@$(VENV)/python tools/doc_tables.py
	@$(VENV)/python tools/module_index.py
	@$(VENV)/python tools/command_table.py
	@$(VENV)/python tools/chart.py
	@$(VENV)/python tools/planted_table.py

check: ## format, lint, types, layers, docs, lock
	$(SETUP)
	@$(VENV)/ruff format --check --quiet --output-format concise . || { echo "format: run make format" >&2; exit 1; }
	@$(VENV)/ruff check --quiet --output-format concise .
	@$(VENV)/mypy --no-error-summary src tests tools $(SCRIPTS)
	@$(VENV)/mypy --no-error-summary --platform darwin --cache-dir .mypy_cache/darwin src
	@$(VENV)/lint-imports --no-logo
	@$(VENV)/python tools/check_docs.py
	@$(VENV)/python tools/install_text.py --check
	@$(VENV)/python tools/promises.py --check
	@$(VENV)/python tools/doc_tables.py --check
	@$(VENV)/python tools/module_index.py --check
	@$(VENV)/python tools/command_table.py --check
	@$(VENV)/python tools/chart.py --check
	@$(VENV)/python tools/planted_table.py --check
	@$(VENV)/python tools/lock.py --check --offline

build: ## the sdist and the wheel in dist/, made twice and compared; RELEASE=TAG refuses what must not be published
	$(SETUP)
	@$(VENV)/python tools/build.py $(if $(RELEASE),--release '$(RELEASE)')

chaos: ## faults against the real thing; and programs that ask, typed to
	@sh tools/when_there.sh bench/chaos.py
	@sh tools/when_there.sh bench/exactly_once.py
	$(SETUP) integration
	@sh tools/integration_tools.sh
	@sh tools/when_there.sh bench/typists.py

bench: ## the numbers: start, hop, throughput, memory; BASE=COMMIT compares with that commit, ONLY="…" selects (also views)
	@sh tools/when_there.sh bench/run.py

simulate: ## SEEDS random schedules of the whole system in virtual time; RECORD=1 looks for the planted bugs
	$(SETUP)
	@$(VENV)/python $(if $(RECORD),tools/planted.py --record,tools/simulate.py --seeds $(SEEDS))

replay: ## one of them, SEED, with its trace; with a planted BUG
	$(SETUP)
	@$(VENV)/python tools/simulate.py --replay $(SEED) $(if $(BUG),--planted $(BUG))

pictures: ## the pictures of the view and the page, from the real thing
	$(SETUP) integration
	@$(VENV)/python tools/pictures.py

walk: ## how many functions and files one call, one script and one command pass through, and lines of code; against goals
	$(SETUP)
	@$(VENV)/python tools/walk.py

soak: ## the same for hours
	@sh tools/when_there.sh bench/soak.py

quiet: ## ten minutes with nothing to do: no event, no wakeup without a reason
	@sh tools/when_there.sh bench/quiet.py

format: ## put the code into its shape
	$(SETUP)
	@$(VENV)/ruff format --quiet .
	@$(VENV)/ruff check --quiet --fix .

lock: ## bring uv.lock up to pyproject.toml; UPGRADE=--upgrade takes the newest of everything
	@sh tools/lock.sh $(UPGRADE)

clean: ## take away what the other targets made
	@rm -rf .bench .clients .coverage .venv .venv.lock .venv-mcp1 .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis \
		dist tests/integration/js/node_modules tests/integration/frameworks/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

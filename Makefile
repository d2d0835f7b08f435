# Two commands for a newcomer: `make demo` and `make test`. Everything else is listed by `make help`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install demo test check acceptance chaos bench docs clean
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## the virtual environment, with exactly what was tested
$(STAMP): requirements.txt pyproject.toml setup.py $(wildcard pipelines/metrics/kernels/*.[ch])
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v.major}.{v.minor}; say make PYTHON=python3.12")'
	@echo "installing into $(VENV) (two or three minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt || { echo "not installed: this needs the network, or a mirror of PyPI (PIP_INDEX_URL) or a proxy (HTTPS_PROXY)" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -c "from pipelines.metrics import kernels; print('graph kernels:', kernels.engine())"
	@touch $(STAMP)

demo: $(STAMP) ## the main job end to end on the embedded servers, then a picture
	@$(BIN)/python -m pipelines.demo

JOBS   ?= 3
# Three on two cores: many tests wait for a server.
test: $(STAMP) ## all tests, a file at a time in JOBS=3 processes
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

check: $(STAMP) ## lint, types, import contracts, house tests
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache && $(BIN)/python -m pytest -q tests/house

acceptance: $(STAMP) ## the API over HTTP, with and without Prefect; kill -9 of each part of it; the demo on a real Neo4j
	@$(BIN)/python -m tests.walk
	@$(BIN)/python -m tests.kills
	@$(BIN)/python -m tests.demo_graphs

chaos: $(STAMP) ## kill -9 everything for some minutes and compare the graph with what was sent
	@$(BIN)/python -m tests.chaos

bench: $(STAMP) ## each claim of speed beside its peers, in one run
	@$(BIN)/python -m benchmarks.drain
	@$(BIN)/python -m benchmarks.metrics
	@$(BIN)/python -m benchmarks.points
	@$(BIN)/python -m benchmarks.api_load
	@$(BIN)/python -m benchmarks.credential_timing
	@$(BIN)/python -m benchmarks.rate_limit

docs: $(STAMP) ## regenerate the pages that are made from code
	@$(BIN)/python -m pipelines.docs

clean: ## remove the environment and the embedded servers' state
	rm -rf $(VENV) .organism build *.egg-info

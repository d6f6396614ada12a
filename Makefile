# Every target installs what is missing first; only Python 3.11 or newer is needed on the machine.
BIN := .venv/bin
.PHONY: setup up test check format laws docs bench chaos lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: ## make .venv and install the locked dependencies
	@tools/setup

up: setup ## start the embedded platform in the foreground
	@exec $(BIN)/amparo up

check: setup ## lint, types, laws and fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.laws
	$(BIN)/python -m tools.docs --check
	$(BIN)/pytest -q -n 2 --dist worksteal -m "not slow and not kill"

test: setup ## every test, the kill matrix with first, middle and last hits included
	$(BIN)/pytest -q -n 2 --dist worksteal

format: setup ## put the code in its house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## write the generated pages
	$(BIN)/python -m tools.docs

bench: setup ## measure, beside the fsync time of this disk
	$(BIN)/python -m benchmarks

chaos: setup ## kill at every hit of every fault point
	$(BIN)/python -m tests.faults --every-hit

lock: setup ## resolve the dependencies anew
	$(BIN)/uv pip compile --universal --generate-hashes --python-version 3.11 --extra dev --no-header --quiet pyproject.toml -o requirements.lock

clean: ## remove what the targets made
	rm -rf .venv .amparo .mypy_cache .ruff_cache .pytest_cache .hypothesis

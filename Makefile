# make demo   train, evaluate, predict and report on the trajectory of gfnode
# make test   all tests but the slow ones
# Both make the virtual environment .venv first, where there is none yet.

PYTHON ?= python3
BIN := .venv/bin
DEMO_EPOCHS ?= 8
PYTEST_ARGS ?= -n auto

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow lint types bench clean

help:
	@echo "make demo | test | test-slow | lint | types | bench | clean"

venv: .venv/installed

# again when the list of packages changes; an unfinished install leaves no stamp
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "gfnode needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[test]'
	@touch $@

demo: venv
	@rm -rf demo/run
	@mkdir -p demo
	$(BIN)/gfnode train --data sample:toluene --set training.epochs=$(DEMO_EPOCHS) --out demo/run
	$(BIN)/gfnode evaluate demo/run --json demo/errors.json
	$(BIN)/gfnode predict demo/run --start sample:toluene --frame 5000 --times 100fs:1.5ps:100fs \
	  --out demo/predicted.xtc --overwrite
	$(BIN)/gfnode report demo/run --out demo/report.html
	@echo
	@echo "report, open in a browser: demo/report.html"
	@echo "plot of error against lag: demo/run/error_against_lag.png"
	@echo "predicted trajectory:      demo/predicted.xtc (topology demo/predicted.pdb)"

test: venv
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: venv
	$(BIN)/python -m pytest -m slow --dist loadgroup $(PYTEST_ARGS)

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache

types: venv
	$(BIN)/mypy

bench: venv
	$(BIN)/python benchmarks --json bench.json

clean:
	rm -rf .venv demo .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist src/*.egg-info

# `make demo` and `make test` set themselves up: Python 3.11, make and a network for pip are enough.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# make gives its own variables to children: a demo runs on the project's folders, not on yours
DEMO_ENV := CHESTFOLD_INPUT= CHESTFOLD_RUNS= CHESTFOLD_SUBMISSIONS= CHESTFOLD_CACHE= CHESTFOLD_WEIGHTS= CHESTFOLD_PROJECT=
DEMO_ENV += CHESTFOLD_QUIET=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test fast lint bench clean

help: ## what there is
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: $(STAMP) ## install everything into .venv (2 minutes, 2 GB; with CUDA wheels more)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "Python 3.11 or newer is needed (PYTHON=...)"; exit 2)
	@echo "Installing the packages of requirements.txt into .venv: about 2 GB, more with CUDA"
	@test -d .venv || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --disable-pip-version-check --progress-bar on -r requirements.txt
	@touch $(STAMP)

demo: setup ## folds, two experiments, an ensemble, a checked submission, the board (1 minute)
	@$(DEMO_ENV) $(BIN)/chestfold data fetch phantom
	@$(DEMO_ENV) $(BIN)/chestfold folds make phantom
	@$(DEMO_ENV) $(BIN)/python exps/exp000.py
	@$(DEMO_ENV) $(BIN)/python exps/exp001.py
	@$(DEMO_ENV) $(BIN)/chestfold ensemble exp000 exp001 --name demo --method greedy
	@$(DEMO_ENV) $(BIN)/chestfold submit demo --dry-run
	@$(DEMO_ENV) $(BIN)/chestfold board --own
	@echo "Files: folds/phantom.csv runs/exp000/ runs/exp001/ runs/demo/ submissions/"
	@echo "Next:  $(BIN)/chestfold report, $(BIN)/python exps/exp000.py --help, README.md"

# three processes on two cores: some tests wait for servers and for other processes
test: setup ## every test that needs neither a GPU nor a network (10 minutes on two cores)
	$(BIN)/python -m pytest -n 3

fast: setup ## the tests without the slow ones (4 minutes)
	$(BIN)/python -m pytest -n 3 -m "not slow"

lint: setup ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## speed ratios, measured side by side on this machine
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/convolution.py --rounds 3
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/blend.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/tracking.py
	$(BIN)/python benchmarks/kill_resume.py --kills 50
	$(BIN)/python benchmarks/sweep_speed.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/ensemble.py

clean: ## remove runs/, .venv and caches; your data sets stay
	rm -rf runs .venv input/.cache input/phantom .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

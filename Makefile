# Two commands on a bare machine with Python 3.11 and make: `make demo` and `make test`. Both set themselves up.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# make gives its own variables to children: a demo and its tests run on the project's folders, not on yours
DEMO_ENV := CHESTFOLD_INPUT= CHESTFOLD_RUNS= CHESTFOLD_SUBMISSIONS= CHESTFOLD_CACHE= CHESTFOLD_WEIGHTS= CHESTFOLD_PROJECT=

.PHONY: setup demo test lint bench clean

setup: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "Python 3.11 or newer is needed (PYTHON=...)"; exit 2)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $(STAMP)

demo: setup
	@$(DEMO_ENV) $(BIN)/chestfold data fetch phantom
	@$(DEMO_ENV) $(BIN)/chestfold folds make phantom
	@$(DEMO_ENV) $(BIN)/python exps/exp000.py
	@$(DEMO_ENV) $(BIN)/python exps/exp001.py
	@$(DEMO_ENV) $(BIN)/chestfold ensemble exp000 exp001 --name demo --method greedy
	@$(DEMO_ENV) $(BIN)/chestfold submit demo --dry-run
	@$(DEMO_ENV) $(BIN)/chestfold board
	@echo
	@echo "What lies where:  folds/phantom.csv  runs/exp000/  runs/exp001/  runs/demo/  submissions/"
	@echo "What to run next: $(BIN)/python exps/exp000.py --help, or your own X-rays: README.md, \"From a zip to a submission\""

test: setup
	$(BIN)/python -m pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/blend.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/tracking.py
	$(BIN)/python benchmarks/kill_resume.py

clean:
	rm -rf runs .venv input/.cache input/phantom .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# `make demo` and `make test` are all the set-up there is: a bare Python 3.11 or newer with pip. Both are quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check docs

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else 'Sensorium needs Python 3.11 to 3.13; set PYTHON=python3.12, for instance')"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Sensorium into $(VENV) (once; a few hundred MB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/ready
	@echo "training an ordinary network, then its permutation-invariant clone, which goes on by itself: about three minutes on two cores"
	@$(BIN)/sensorium train cart-pole-clone --out runs/demo --baseline.steps 120 --clone.steps 30 --ascend.window 40 --ascend.windows 25 --ascend.warmup-windows 150 --ascend.steps 20
	@echo "drawing the report: about a minute"
	@$(BIN)/sensorium report runs/demo > runs/demo/where
	@echo && echo "done. Open this page in a browser: $$(pwd)/$$(cat runs/demo/where)"

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

# a process more than there are cores: now and then one waits for what another trains for both
test: check
	$(BIN)/python -m pytest -n $$($(BIN)/python -c "import os; print(os.cpu_count() + 1)") --dist worksteal

# warnings are errors: a reference or local link that leads nowhere, a public name without a docstring; no network is needed once it is installed
docs: $(VENV)/ready
	@$(BIN)/python -c "import furo, myst_parser, sphinx" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -b html -q -E -n -W --keep-going -d build/doctrees docs build/docs
	@echo "open $$(pwd)/build/docs/index.html"

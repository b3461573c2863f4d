# `make demo` and `make test` are all the set-up there is: a bare Python 3.11 or newer with pip. Both are quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CPU_TORCH := https://download.pytorch.org/whl/cpu
# keep bytecode: otherwise every process compiles all modules and tests again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check quick docs dist web pictures

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else 'Sensorium needs Python 3.11 to 3.13; set PYTHON=python3.12, for instance')"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Sensorium into $(VENV) (once)"
	@# on Linux without an NVIDIA GPU: torch's CPU build (200 MB instead of several GB), where its index answers
	@if [ "$$(uname -s)" = Linux ] && [ ! -e /proc/driver/nvidia/version ] && [ ! -e /dev/dxg ]; then \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 0 --timeout 10 --no-deps --index-url $(CPU_TORCH) -c constraints.txt torch 2> /dev/null \
		|| echo "torch's CPU build is not available; installing the default build"; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/ready
	@echo "training an ordinary network, then its permutation-invariant clone, which goes on by itself: about three minutes on two cores"
	@$(BIN)/sensorium train cart-pole-clone --out runs/demo --baseline.steps 120 --clone.steps 30 --ascend.window 40 --ascend.windows 25 --ascend.warmup-windows 150 --ascend.steps 20
	@echo "writing the report: about a minute"
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

# the tests that learn nothing, for another Python: make quick PYTHON=python3.13 VENV=.venv-3.13
quick: $(VENV)/ready
	$(BIN)/python -m pytest -n $$($(BIN)/python -c "import os; print(os.cpu_count() + 1)") --dist worksteal -m "not slow" -rs

# the wheel and the source distribution, in build/dist
dist: $(VENV)/ready
	$(BIN)/python -m build --outdir build/dist
	$(BIN)/twine check --strict build/dist/*

# warnings are errors: a reference or local link that leads nowhere, a public name without a docstring; no network is needed once it is installed
docs: $(VENV)/ready
	$(BIN)/python -m sphinx -b html -q -E -n -W --keep-going -d build/doctrees docs build/docs
	@echo "open $$(pwd)/build/docs/index.html"

# the playground's page, from web/ into src/sensorium/web/static/, whose files are committed (needs Node 20 and npm)
web:
	cd web && npm ci --no-audit --no-fund --loglevel=error && npm run --silent lint && npm test && npm run --silent build

# the playground's pictures in docs/ (needs Chromium)
pictures: $(VENV)/ready
	$(BIN)/python docs/pictures.py

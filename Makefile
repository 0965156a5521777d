# Every target sets up .venv first, where it is missing or requirements.txt or pyproject.toml has changed.
#
#   PYTHON=python3.12   the Python that .venv is made with (3.11 or later)
#   JOBS=2              how many notebooks, or tests, run at the same time
#   PROFILE=quick       how long the notebooks of `make run` take: quick, study or paper

PYTHON ?= python3
JOBS ?= 2
PROFILE ?= quick

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help run test lab bench reproduce

help:
	@echo 'make run        execute every notebook into runs/ at profile quick; ends with runs/index.html'
	@echo 'make test       ruff, the unit tests, and every notebook against its committed outputs'
	@echo 'make lab        JupyterLab on the notebooks'
	@echo 'make bench      measure speed beside what a user would pick instead'
	@echo 'make reproduce  execute every notebook at profile study, up to ten minutes each, into runs/study/'
	@echo 'Settings: PYTHON=python3.12 (what .venv is made with), JOBS=2 (at the same time), PROFILE=quick (of make run)'

run: $(INSTALLED)
	$(BIN)/posebook run --profile $(PROFILE) --jobs $(JOBS) --output runs

# One pytest run for both: a notebook's cells stay together on a worker, the long notebooks come first, and each worker
# computes on one core.
test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest notebooks tests -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		--nbval-lax --nbval-current-env --nbval-cell-timeout 300 --nbval-kernel-startup-timeout 180

lab: $(INSTALLED)
	$(BIN)/jupyter lab notebooks

bench: $(INSTALLED)
	$(BIN)/python benchmarks/run.py

reproduce: $(INSTALLED)
	$(BIN)/posebook run --profile study --jobs 1 --output runs/study

# Bytecode is compiled when a module is first imported: most of what is installed never is.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'posebook needs Python 3.11 or later, and $(PYTHON) is not: name another, as in make run PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile --no-deps -e .
	@touch $@

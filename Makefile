# Every target but those of a GPU sets up .venv first, where it is missing or requirements.txt or pyproject.toml has
# changed.
#
#   PYTHON=python3.12   the Python that .venv is made with (3.11 or later)
#   JOBS=2              how many notebooks, or tests, run at the same time
#   PROFILE=quick       how long the notebooks of `make run` take: quick, study or paper
#   MINUTES=9           how long `make gpu` takes
#   OUTPUT=runs/gpu     where it leaves what is to be brought back
#   MOMENTS=20          how often `make campaign` stops each command, by each signal

# Kept bytecode lets a process start in a third of the time; pip leaves it to the first import.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
JOBS ?= 2
PROFILE ?= quick
MINUTES ?= 9
OUTPUT ?= runs/gpu
MOMENTS ?= 20

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help run test campaign lab demo bench book reproduce gpu gpu-wheels

help:
	@echo 'make run        execute every notebook into runs/ at profile quick; ends with runs/index.html'
	@echo 'make test       ruff, the unit tests, and every notebook against its committed outputs'
	@echo 'make campaign   stop every long-running command at random moments, go on, and print what was lost; then large loads (hours)'
	@echo 'make lab        JupyterLab on the notebooks'
	@echo 'make demo       the sliders of the notebooks as pages without code, in a browser'
	@echo 'make bench      measure speed beside what a user would pick instead'
	@echo 'make book       the notebooks as committed, as a book of web pages that opens without a network: runs/book/html'
	@echo 'make reproduce  execute every notebook at profile study, up to ten minutes each, into runs/study/'
	@echo 'make gpu        on a borrowed GPU: tests, speed beside peers, ledger runs; PYTHON is one that has torch with CUDA'
	@echo 'make gpu-wheels the packages that such a Python may lack, into runs/wheels'
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

campaign: $(INSTALLED)
	$(BIN)/python tests/reliability/campaign.py --moments $(MOMENTS); status=$$?; \
		$(BIN)/python tests/reliability/load.py && exit $$status

# What the notebooks show runs only where they are trusted, as one is that was executed on this machine. Their kernels
# import torch before posebook, which would say how long threads wait (lib/posebook/__init__.py).
lab: export GOMP_SPINCOUNT ?= 3000
lab: $(INSTALLED)
	$(BIN)/jupyter trust notebooks/*.ipynb notebooks/*/*.ipynb > /dev/null
	$(BIN)/jupyter lab notebooks

demo: $(INSTALLED)
	$(BIN)/posebook demo

bench: $(INSTALLED)
	$(BIN)/python benchmarks/run.py

# Its packages come into .venv when it is first wanted: nothing else needs them but slides.
book: $(VENV)/.book
	$(BIN)/python book/build.py --output runs/book

reproduce: $(INSTALLED)
	$(BIN)/posebook run --profile study --jobs 1 --output runs/study

# Without .venv and network: $(PYTHON) is the machine's own, and what it lacks comes from runs/wheels.
gpu:
	$(PYTHON) benchmarks/gpu.py --minutes $(MINUTES) --output $(OUTPUT)

# For Python 3.12 on Linux, 13 MB; none needs a package that is not among them but torch, numpy and the standard library.
gpu-wheels:
	mkdir -p runs/wheels
	$(PYTHON) -m pip download --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
		--implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
		--platform manylinux2014_x86_64 --constraint requirements.txt --dest runs/wheels \
		kornia kornia-rs dsntnn jaxtyping wadler-lindig safetensors tqdm filelock joblib pytest pluggy iniconfig \
		packaging pygments

# Bytecode is compiled when a module is first imported: most of what is installed never is.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'posebook needs Python 3.11 or later, and $(PYTHON) is not: name another, as in make run PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile --no-deps -e .
	@touch $@

$(VENV)/.book: $(INSTALLED) book/requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile -r requirements.txt -r book/requirements.txt
	@touch $@

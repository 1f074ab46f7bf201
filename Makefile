# Everything starts here: `make demo`, `make test`, `make help`. Works with GNU make 3.81 and newer.
PYTHON ?= python3
VENV   ?= .venv
WHEELS ?= wheelhouse
PY      = "$(VENV)/bin/python"
SETUP   = "$(PYTHON)" scripts/setup_env.py --venv "$(VENV)"

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit check lint lab lessons sample wheels install-offline clean

help:  ## what can be made, and how long it takes
	@echo "benchkit: benchmark language models on your own machine."
	@echo "Needed: Python 3.10 or newer and a C/C++ compiler. The first command also sets up .venv (about 3 minutes)."
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'

setup:  ## create .venv and install; done once (about 3 minutes), called by the others
	@$(SETUP)

demo: setup  ## run the three lessons of the main job on the shipped models (under 2 minutes)
	@$(PY) -m benchkit demo

test: setup  ## everything a change must pass: unit, real models, notebooks (under 15 minutes)
	@echo "== 1/3  unit and property tests, doctests, on all cores (two to three minutes on two)"
	@$(PY) -m pytest -n auto --dist loadfile -m "not slow and not notebooks and not real" tests benchkit
	@echo "== 2/3  real models, servers, browsers and terminals (three minutes on two cores)"
	@$(PY) -m pytest -n auto --dist loadfile -m "real and not slow and not notebooks" tests
	@echo "== 3/3  notebooks: papermill, then every output by nbval (up to ten minutes)"
	@$(PY) -m pytest -m "notebooks and not slow" tests
	@$(PY) -m pytest notebooks

unit: setup  ## only the first part of it: no models, no servers, no notebooks (two to three minutes on two cores)
	@$(PY) -m pytest -n auto --dist loadfile -m "not slow and not notebooks and not real" tests benchkit

check: lint  ## what takes longer: soak, twenty kills, mutation, parity with llama-bench (up to 40 minutes)
	@echo "== long tests (up to 40 minutes)"
	@$(PY) -m pytest -m slow tests

lint: setup  ## style (a second)
	@$(PY) -m ruff check .

lab: setup  ## open the lessons in JupyterLab
	@$(PY) -m jupyter lab notebooks

lessons: setup  ## write notebooks/ again from lessons/ (a few minutes)
	@$(PY) lessons/build.py

sample: setup  ## measure the sample run again, then execute every lesson (a few minutes on a quiet machine)
	@$(PY) lessons/make_sample.py --fresh
	@$(PY) lessons/build.py --execute all

wheels: setup  ## gather every package in wheelhouse/, for machines without internet (a minute)
	@$(SETUP) --gather "$(WHEELS)"

install-offline:  ## set up from wheelhouse/, without the network (a minute)
	@$(SETUP) --offline "$(WHEELS)"

clean:  ## remove .venv and caches; runs, models and the wheelhouse stay
	rm -rf "$(VENV)" .pytest_cache .ruff_cache .hypothesis build *.egg-info

# Everything a fresh clone needs is Python 3.11 or newer and make: each target makes its own environment first.
#
#   make demo | test | matrix | bench | soak | soak-spool | faults | faults-peers | docs | clean
#
#   faults           every row of the fault catalogue, and a table; BEATS_FAULTS=full takes its time
#   faults-peers     some of them with PyLogBeat and python-logstash-async in our place
#   matrix           what both clients promise, with each receiver of the field
#
#   ARGS="..."       handed on:  make test ARGS="-k protocol"
#   PARTS="..."      of bench:   make bench PARTS=throughput ARGS="--rounds 3"
#   PYTHON=python3.12 VENV=.venv-3.12      another interpreter, in an environment of its own

VENV ?= .venv
PARTS ?= log_call throughput spool
RUN = $(VENV)/bin/python -m
SOURCES = beats_core beats_integrations tests docs
# The rooms without I/O: every line and branch of theirs can be reached by a test, and is.
PURE = $(wildcard $(addsuffix .py,$(addprefix beats_core/,frames protocol backlog slow_start certificates) \
	$(addprefix beats_integrations/,log_event schemas safety)))
comma = ,
empty =
export PYTHON VENV

.PHONY: help demo test matrix lint docs bench soak soak-spool faults faults-peers clean setup-demo setup-dev

help:
	@sed -n '3,12s/^# \{0,1\}//p' Makefile

demo: setup-demo
	@$(RUN) beats_integrations.demo $(ARGS)

ifeq ($(strip $(ARGS)),)
test: lint
	$(RUN) pytest --cov --cov-report=term
	$(RUN) coverage report --include='$(subst $(empty) $(empty),$(comma),$(PURE))' --fail-under=100
	@$(MAKE) --no-print-directory docs
else
test: setup-dev
	@echo 'Only pytest $(subst ','\'',$(ARGS)); without ARGS also lint, types, coverage and the documentation.'
	$(RUN) pytest $(ARGS)
endif

matrix: setup-dev
	@PYTHONPATH=tests $(RUN) core.matrix $(ARGS)

lint: setup-dev
	$(RUN) ruff format --check $(SOURCES)
	$(RUN) ruff check $(SOURCES)
	$(RUN) mypy

docs: setup-dev
	@$(VENV)/bin/python docs/tables.py
	$(RUN) sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo "The documentation: docs/_build/html/index.html"

bench: setup-dev
	@for part in $(PARTS); do PYTHONPATH=tests $(RUN) benchmarks.$$part $(ARGS) || exit; done

soak: setup-dev
	PYTHONPATH=tests $(RUN) interop.million $(ARGS)

soak-spool: setup-dev
	PYTHONPATH=tests $(RUN) faults.soak $(ARGS)

faults: setup-dev
	$(RUN) pytest tests/faults --ignore tests/faults/test_peers.py $(ARGS)

faults-peers: setup-dev
	$(RUN) pytest tests/faults/test_peers.py $(ARGS)

clean:
	rm -rf .venv .venv-* .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* dist docs/_build
	find . -name __pycache__ -prune -exec rm -rf {} +

setup-demo:
	@.ci/setup

setup-dev:
	@.ci/setup dev

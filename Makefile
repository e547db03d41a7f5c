# Everything runs in a virtual environment of its own; only Python 3.11+ has to be there.
PYTHON ?= python3
# A CPU build. A range, or none at all, may pull gigabytes of CUDA.
TORCH ?= torch==2.13.0
VENV ?= .venv
RUN = $(VENV)/bin
# The whole suite on two cores; PYTEST_ARGS= runs it in one process.
PYTEST_ARGS ?= -n 2

.PHONY: demo test check fix bench clean

demo: $(VENV)/lab  ## train the hierarchical network on the names, about a minute, and a page about it
	@mkdir -p runs && folder="$$(mktemp -d "$$PWD/runs/demo-XXXX")" && \
	$(RUN)/typedwave train --preset demo --out "$$folder" && \
	$(RUN)/typedwave report "$$folder" --out "$$folder/report.html"

test: $(VENV)/dev  ## run the tests
	$(RUN)/pytest $(PYTEST_ARGS)

check: $(VENV)/dev  ## linters, types and the direction of imports
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports --no-cache

fix: $(VENV)/dev  ## what the linters can mend
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

bench: $(VENV)/dev  ## checks, a training step, sharing between positions, the cost of a run; one thread
	$(RUN)/python benchmarks/calls.py
	$(RUN)/python benchmarks/step.py
	$(RUN)/python benchmarks/positions.py
	$(RUN)/python benchmarks/harness.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Each mark is newer than the environment it stands for and than what that was made from.
$(VENV)/torch:
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet "$(TORCH)"
	@touch $@

$(VENV)/lab: $(VENV)/torch pyproject.toml
	$(RUN)/pip install --quiet --editable '.[lab]'
	@touch $@

$(VENV)/dev: $(VENV)/torch pyproject.toml
	$(RUN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/lab

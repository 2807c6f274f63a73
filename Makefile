# make demo   set up, fetch the demo model, audit it, write runs/demo/base
# make test   set up, run every test: two processes of one thread each, a file never split between them
# make check  set up, format, lint, types, import contracts: what CI runs before the tests

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
MODEL := .cache/models/SmolLM2-135M-Instruct

.PHONY: demo test check setup format clean

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt tools/setup.sh
	PYTHON="$(PYTHON)" bash tools/setup.sh
	touch $@

$(MODEL)/config.json: .venv/.ready tools/fetch_demo.py
	$(BIN)/python tools/fetch_demo.py --to $(MODEL)
	touch $@

demo: $(MODEL)/config.json
	$(BIN)/python tools/demo.py $(MODEL) runs/demo

test: $(MODEL)/config.json
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv runs

# Everything runs in one virtual environment, .venv, made when missing. PYTHON picks the interpreter that makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := train,report,search,ray,bench,dev
SOURCES := src tests benchmarks .ci
CHECKPOINTS := benchmarks/checkpoints

.PHONY: setup setup-targets demo demo-quick demo-web test test-whole test-targets check lint types sanitizers bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

# What runs and models programs for other machines; Debian and its kin.
setup-targets:
	apt-get update && apt-get install --yes --no-install-recommends \
	    qemu-user-static nodejs chromium cmake llvm llvm-19 openssh-server adb

demo: setup
	$(BIN)/prunemap demo -o runs/demo

demo-quick: setup
	$(BIN)/prunemap demo --quick -o runs/demo-quick

# A page that classifies pictures in the browser, dense against pruned; then open http://localhost:8000.
demo-web: setup
	$(BIN)/prunemap page $(CHECKPOINTS)/resnet20-pruned-s0.safetensors $(CHECKPOINTS)/resnet20-dense-s0.safetensors \
	    -o runs/demo-web
	$(BIN)/python -m http.server --directory runs/demo-web

test: setup
	$(BIN)/python -m pytest -n auto --ignore tests/kernels/test_sanitizers.py

check: lint types sanitizers

lint: setup
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: setup
	$(BIN)/mypy

sanitizers: setup
	$(BIN)/python -m pytest -q -n auto tests/kernels/test_sanitizers.py

# What takes minutes, too: every network of the zoo, every kernel and shape for other machines.
test-whole: setup
	$(BIN)/python -m pytest -n auto -rs --whole

# Every kernel and shape for ARM64 (qemu) and WebAssembly (Node); minutes. What is missing is skipped with a reason.
test-targets: setup
	$(BIN)/python -m pytest -n auto -rs --whole tests/targets tests/unit/exporting

bench: setup
	$(BIN)/python benchmarks/demo.py

clean:
	rm -rf runs build .mypy_cache .pytest_cache .ruff_cache

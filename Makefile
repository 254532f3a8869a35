# `make` lists the targets. They need only make and Python 3.11 or newer; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
NEW_ENOUGH := import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12")
# TORCH=cpu installs PyTorch without CUDA, from PyTorch's own index. The hashes of the lock are those of other files.
INSTALL := $(if $(TORCH),--torch-backend $(TORCH) --no-verify-hashes -c requirements.txt -r requirements.in,--require-hashes -r requirements.txt)
# For what recipes start in turn; make 3.81, which macOS has, does not look for a recipe's own programs there.
export PATH := $(CURDIR)/$(BIN):$(PATH)
ifeq ($(OS),Windows_NT)
$(error Windows is supported through WSL: run the same commands in a shell of `wsl`)
endif
# DVC asks for the user's name, which a container's user may lack; Python takes USER before it asks the system.
ifneq ($(shell id -un >/dev/null 2>&1; echo $$?),0)
export USER := $(or $(USER),user)
endif
.DEFAULT_GOAL := help
# Programs in .venv name its Python by its full path: after the folder was renamed or copied, by that of another.
$(shell test ! -e $(BIN)/uv || test "$$(cat $(BIN)/.here 2>&1)" = "$$(pwd -P)" || { \
	echo "Mending .venv, whose programs name the Python of another folder" >&2; \
	$(BIN)/python tools/relocate.py $(BIN) >&2 && pwd -P >$(BIN)/.here; } || rm -f $(BIN)/uv $(BIN)/.ready*)
# A Python named on the command line, other than that of .venv: .venv is made again, with it.
ifeq ($(origin PYTHON),command line)
$(shell test ! -e $(BIN)/uv || ! $(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null || \
	test "$$($(PYTHON) -V)" = "$$($(BIN)/python -V)" || rm -f $(BIN)/uv $(BIN)/.ready*)
endif
.PHONY: help repro ui notebook test bench faults screenshots lock audit

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-15s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

repro: $(BIN)/.ready .dvc/config.local ## the whole comparison: download, train, evaluate, track (dvc repro)
	@echo "dvc repro: download -> train@plain, train@batchnorm -> evaluate -> track"
	@$(BIN)/dvc repro
	@$(BIN)/python -m pipeline answer

ui: $(BIN)/.ready ## the runs in MLflow's pages, at http://127.0.0.1:5000, in a browser where there is a display
	@$(BIN)/python -m pipeline view & exec $(BIN)/mlflow ui --host 127.0.0.1

notebook: $(BIN)/.ready-notebook ## the lab, cell by cell, in JupyterLab
	@$(BIN)/jupyter lab notebooks/lab.ipynb

test: $(BIN)/.ready-dev .dvc/config.local ## ruff, mypy --strict, import-linter and pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadscope

bench: $(BIN)/.ready-dev ## speed beside the lab, scikit-learn, PyTorch and JAX (requirements-bench.txt), and memory
	$(BIN)/python -m benchmarks

faults: $(BIN)/.ready-dev ## thousands of wrong inputs; then 200 commands killed and 12 servers lost, and what was recovered
	$(BIN)/python -m pytest tests/project/test_bad_input.py --hypothesis-profile thorough
	$(BIN)/python -m tools.faults

screenshots: $(BIN)/.ready-dev ## pictures of mlflow ui with the current runs (needs Chromium)
	$(BIN)/python -m tools.screenshots

lock: $(BIN)/.ready ## recompile the locks from requirements*.in
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements.in -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements-ray.in -o requirements-ray.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements-bench.in -o requirements-bench.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate requirements-notebook.in -o requirements-notebook.txt

# --strict: a package that the database does not know fails. The last line of the log says why the audit failed.
audit: $(BIN)/uv ## known vulnerabilities of the locked packages, as the Python index lists them (pip-audit)
	@$(BIN)/uvx -q pip-audit==2.10.1 --disable-pip --require-hashes --strict -r requirements.txt -r requirements-dev.txt -r requirements-ray.txt -r requirements-bench.txt -r requirements-notebook.txt \
		2>$(BIN)/audit.log || { echo "Vulnerable packages (listed above), or no answer from the database:"; false; }; \
		status=$$?; tail -n 1 $(BIN)/audit.log; exit $$status

# The environment is created afresh as long as uv is missing, so an interrupted start does no lasting harm.
$(BIN)/uv:
	@$(PYTHON) -c '$(NEW_ENOUGH)'
	@echo "Making the environment .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check "$$(sed -nE 's/^(uv==[^ ]+).*/\1/p' requirements.txt)"
	@pwd -P >$(BIN)/.here

$(BIN)/.ready: requirements.txt | $(BIN)/uv
	@echo "Installing requirements.txt ($(if $(TORCH),PyTorch for $(TORCH),about 6 GB with PyTorch's CUDA libraries; without them: TORCH=cpu), once)"
	@$(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode $(INSTALL)
	@touch $@

$(BIN)/.ready-notebook: requirements-notebook.txt $(BIN)/.ready
	@echo "Installing requirements-notebook.txt"
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes --compile-bytecode -r requirements-notebook.txt
	@touch $@

$(BIN)/.ready-dev: requirements-dev.txt requirements-ray.txt $(BIN)/.ready-notebook
	@echo "Installing requirements-dev.txt and requirements-ray.txt"
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes --compile-bytecode -r requirements-dev.txt -r requirements-ray.txt
	@touch $@

# DVC requires Git unless core.no_scm is set; a downloaded archive has none, and a repository may begin above here.
.dvc/config.local: | $(BIN)/.ready
	@if [ -e .git ] || git rev-parse --is-inside-work-tree >/dev/null 2>&1; then touch $@; else echo "No Git here: telling DVC so"; $(BIN)/dvc config --local core.no_scm true; fi

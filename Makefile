# Everything sets up what it needs: a fresh clone wants only Python 3.11, git and a compiler.
PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1
# For a torch build from elsewhere, say: make test TORCH_INDEX_ARGS="--extra-index-url ..."
TORCH_INDEX_ARGS ?=
PIP_FLAGS := --disable-pip-version-check --quiet
# In each environment, so that what is built there again is built without the package index.
SETUPTOOLS := "setuptools>=77.0.3,<81"
# Two of the packages for judging come as sources alone; they are built with these, and do not say so to pip in time.
SOURCE_TOOLS := "numpy>=2.0,<2.5" "cython>=3.0,<3.4"
BUILD_FLAGS := $(PIP_FLAGS) --no-build-isolation
# Compiled at each installation, and again where they change.
KERNELS := $(wildcard engines/runtime/cpu_kernels/*.[ch])

.PHONY: all serve test sanitize test-gpu-dry test-tensorrt test-deploy test-image test-ray lock test-clients test-reference test-web test-slow lint docs types contracts units drill voice judge gpu-check clean
.PHONY: bench bench-overload bench-cancels bench-soak bench-formats bench-peers

all: lint types contracts units

.venv/ready: pyproject.toml $(KERNELS)
	$(PYTHON) -m venv .venv
	.venv/bin/pip install $(PIP_FLAGS) $(SETUPTOOLS)
	.venv/bin/pip install $(BUILD_FLAGS) .
	touch $@

.venv-dev/ready: pyproject.toml $(KERNELS)
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install $(PIP_FLAGS) $(TORCH_INDEX_ARGS) $(SETUPTOOLS) $(SOURCE_TOOLS) torch==2.13.0
	rm -f engines/runtime/_kernels*.so
	.venv-dev/bin/pip install $(BUILD_FLAGS) $(TORCH_INDEX_ARGS) -e ".[dev,train,export,eval,bench]"
	touch $@

serve: .venv/ready
	find build/lib* -name "*.py" -delete 2>/dev/null || true  # of modules that are gone
	.venv/bin/pip install $(BUILD_FLAGS) --no-deps .
	.venv/bin/parlando serve --host $(HOST) --port $(PORT)

test: .venv-dev/ready all

# The makers' clients, unmodified, in an environment of their own, against a running server.
.venv-clients/ready: tests/clients/requirements.txt
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/pip install $(PIP_FLAGS) -r tests/clients/requirements.txt
	touch $@

test-clients: .venv-dev/ready .venv-clients/ready
	SERVER_PYTHON=.venv-dev/bin/python .venv-clients/bin/python -m pytest tests/clients -c tests/clients/pytest.ini --rootdir .

# The GPU engine over CUDA libraries that are pretended: no GPU, an environment of its own, offline once it is made.
test-gpu-dry:
	$(PYTHON) tests/dry_cuda/run.py $(DRY_ARGS)

# TensorRT's plans: the graphs through a real builder, our calls against the real Python layer. No GPU, an environment of
# its own.
test-tensorrt:
	$(PYTHON) tests/plans/run.py $(TENSORRT_ARGS)

# Our networks beside the makers' own implementation, which wants an environment of its pins. With REFERENCE_SIZE=0.6B or
# 1.7B at the published sizes: minutes, and 18 GB. REFERENCE_CHECKPOINT=FOLDER takes weights of yours.
.venv-reference/ready: tests/reference/requirements.txt
	$(PYTHON) -m venv .venv-reference
	.venv-reference/bin/pip install $(PIP_FLAGS) $(TORCH_INDEX_ARGS) $(SETUPTOOLS) torch==2.13.0
	.venv-reference/bin/pip install $(PIP_FLAGS) --no-deps -r tests/reference/requirements.txt
	touch $@

test-reference: .venv-reference/ready
	.venv-reference/bin/python -m pytest tests/reference -c tests/reference/pytest.ini --rootdir .

# Manifests, images, proxies, rules and dashboard, each by its own tool; what is missing is named and skipped.
.venv-dev/deploy: .venv-dev/ready tests/deployment/requirements.txt
	.venv-dev/bin/pip install $(PIP_FLAGS) -r tests/deployment/requirements.txt
	touch $@

test-deploy: .venv-dev/deploy
	TEST_IMAGE=$(or $(TEST_IMAGE),1) .venv-dev/bin/python -m pytest tests/deployment --ignore tests/deployment/test_ray.py -rs -m "slow or not slow" --durations=5

# The application for Ray Serve, in an environment with Ray: redeployed, and scaled, under streams. Some minutes.
.venv-ray/ready: deploy/ray/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/pip install $(PIP_FLAGS) $(SETUPTOOLS)
	.venv-ray/bin/pip install $(PIP_FLAGS) -r deploy/ray/requirements.txt
	.venv-ray/bin/pip install $(BUILD_FLAGS) .
	touch $@

test-ray: .venv-dev/ready .venv-ray/ready
	.venv-dev/bin/python -m pytest tests/deployment/test_ray.py -rs -m slow

# Builds the CPU image, starts it and hears it speak: as root, with Debian's buildah and mmdebstrap; some minutes.
test-image: .venv-dev/ready
	TEST_IMAGE=$(or $(TEST_IMAGE),1) .venv-dev/bin/python -m pytest tests/deployment/test_image.py -rs -s -m slow

# What the images install: every version and hash.
LOCK := uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11
lock:
	$(LOCK) --universal pyproject.toml -o requirements/server.lock.txt
	echo $(SETUPTOOLS) | $(LOCK) --universal - -o requirements/build.lock.txt
	for name in cuda gpu-form; do \
		$(LOCK) --python-platform x86_64-manylinux_2_28 requirements/$$name.txt -o requirements/$$name.lock.txt || exit 1; done

# The page at / in a headless Chromium (Debian's package), which `make test` runs too where there is one.
test-web: .venv-dev/ready
	.venv-dev/bin/python -m pytest tests/web -rs

# The kernels' tests over a build that stops at the first bad address, overflow or misaligned access, in every form that
# this processor runs. Python itself leaks, so leaks are not looked for; exceptions of the runtime need libstdc++ first.
SANITIZED := build/sanitize/_kernels.so
$(SANITIZED): $(KERNELS)
	mkdir -p $(@D)
	$(CC) -O1 -g -std=c11 -ffp-contract=off -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all \
		-Wall -Wextra -Werror -pthread -fPIC -shared $(filter %.c,$(KERNELS)) -lm -o $@

sanitize: .venv-dev/ready $(SANITIZED)
	KERNEL_LIBRARY=$(CURDIR)/$(SANITIZED) ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so)" \
		.venv-dev/bin/python -m pytest tests/kernels -rs -p no:cacheprovider

lint: .venv-dev/ready
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/python tests/contracts/words.py

# The pages of docs/ that follow from the code; a test compares them.
docs: .venv-dev/ready
	.venv-dev/bin/python docs/generate.py

types: .venv-dev/ready
	.venv-dev/bin/mypy

contracts: .venv-dev/ready
	.venv-dev/bin/lint-imports

# A process for each core; a file's tests stay together, since they share what is slow to make.
units: .venv-dev/ready
	.venv-dev/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# What takes minutes or a few hundred megabytes of the package index.
test-slow: .venv-dev/ready
	.venv-dev/bin/python -m pytest -m slow -rs

# Interruptions at 200 random moments by each way there is, and 100 killed engines; `make units` draws 40 and 10.
drill: .venv-dev/ready
	BARGE_IN_MOMENTS=200 .venv-dev/bin/python -m pytest tests/edge/test_barge_in.py tests/edge/test_doors.py -s --timeout 3600
	KILL_MOMENTS=100 .venv-dev/bin/python -m pytest tests/edge/test_engine_kills.py -s --timeout 3600

# From the teacher's speech, or your own: make voice DATA=manifest.jsonl (docs/own-voice.md).
# Or from a natural teacher: make voice TEACHER=kokoro (docs/natural-voice.md).
DATA ?=
TEACHER ?= flite
voice: .venv-dev/ready
	.venv-dev/bin/python -m models.make_voice --teacher $(TEACHER) $(if $(DATA),--data "$(DATA)") $(VOICE_ARGS)

judge: .venv-dev/ready
	.venv-dev/bin/python -m models.judge $(JUDGE_ARGS)

# Load tests: server and load generator on this machine. The others start from the knee that `make bench` found.
BENCH_OUT ?= docs/measurements
.venv-bench/ready: pyproject.toml $(KERNELS)
	$(PYTHON) -m venv .venv-bench
	rm -f engines/runtime/_kernels*.so  # a library that cannot be built again must not stay
	.venv-bench/bin/pip install $(PIP_FLAGS) $(SETUPTOOLS)
	.venv-bench/bin/pip install $(BUILD_FLAGS) -e ".[bench]"
	touch $@

bench: .venv-bench/ready
	.venv-bench/bin/python -m loadtests --out $(BENCH_OUT) $(BENCH_ARGS)

bench-overload: .venv-bench/ready
	.venv-bench/bin/python -m loadtests --overload --seconds 30 --out $(BENCH_OUT) --name overload $(BENCH_ARGS)

bench-cancels: .venv-bench/ready
	.venv-bench/bin/python -m loadtests --cancels 10000 --out $(BENCH_OUT) --name cancels $(BENCH_ARGS)

bench-soak: .venv-bench/ready
	.venv-bench/bin/python -m loadtests --soak 30 --out $(BENCH_OUT) --name soak $(BENCH_ARGS)

# Chunk borders and the cost of encoding, in every format.
FORMATS ?= all
bench-formats: .venv-bench/ready
	.venv-bench/bin/python -m loadtests.formats $(FORMATS) --out $(BENCH_OUT)

# Side by side with peers, which live in environments of their own; llama.cpp is built from source (5 to 10 minutes).
PEERS ?= all
PEERS_ENV := $(if $(filter-out pocket,$(PEERS)),.venv-peers,.venv-pocket)
.venv-peers/ready: loadtests/peers/requirements.txt loadtests/peers/requirements-pocket.txt
	$(PYTHON) -m venv .venv-peers
	CMAKE_ARGS="-DGGML_NATIVE=ON" .venv-peers/bin/pip install $(PIP_FLAGS) $(TORCH_INDEX_ARGS) -r $<
	touch $@

.venv-pocket/ready: loadtests/peers/requirements-pocket.txt
	$(PYTHON) -m venv .venv-pocket
	.venv-pocket/bin/pip install $(PIP_FLAGS) $(TORCH_INDEX_ARGS) -r $<
	touch $@

bench-peers: .venv/ready .venv-dev/ready $(PEERS_ENV)/ready
	$(PEERS_ENV)/bin/python -m loadtests.peers $(PEERS) $(PEERS_ARGS)

# Proves and measures the GPU engine on the GPU of this machine, in an environment of its own; or in yours:
# make gpu-check GPU_PYTHON=python3. docs/measurements/gpu-status.md says what is measured and what has run where.
GPU_PYTHON ?= .venv-gpu/bin/python
.venv-gpu/ready: requirements/cuda.txt
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/pip install $(PIP_FLAGS) $(SETUPTOOLS) -r requirements/cuda.txt -r tests/gpu_check/requirements.txt
	rm -f engines/runtime/_kernels*.so
	.venv-gpu/bin/pip install $(BUILD_FLAGS) --no-deps -e .
	touch $@

gpu-check: $(if $(filter .venv-gpu/%,$(GPU_PYTHON)),.venv-gpu/ready)
	$(GPU_PYTHON) -m tests.gpu_check $(CHECK_ARGS)

clean:
	rm -rf .venv .venv-dev .venv-gpu .venv-gpu-dry .venv-tensorrt .venv-clients .venv-bench .venv-peers .venv-pocket .venv-reference .venv-ray build engines/runtime/_kernels*.so *.egg-info .mypy_cache .ruff_cache .pytest_cache

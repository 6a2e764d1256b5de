# Everything sets up what it needs: a fresh clone wants only Python 3.11, git and a compiler.
PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1
# For a torch build from elsewhere, say: make test TORCH_INDEX_ARGS="--extra-index-url ..."
TORCH_INDEX_ARGS ?=
PIP_FLAGS := --disable-pip-version-check --quiet

.PHONY: all serve test test-clients lint types contracts units voice judge bench clean

all: lint types contracts units

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install $(PIP_FLAGS) .
	touch $@

.venv-dev/ready: pyproject.toml
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install $(PIP_FLAGS) $(TORCH_INDEX_ARGS) torch==2.13.0
	.venv-dev/bin/pip install $(PIP_FLAGS) $(TORCH_INDEX_ARGS) -e ".[dev,train,eval]"
	touch $@

serve: .venv/ready
	.venv/bin/pip install $(PIP_FLAGS) --no-deps .
	.venv/bin/parlando serve --host $(HOST) --port $(PORT)

test: .venv-dev/ready all

# The makers' clients, unmodified, in an environment of their own, against a running server.
.venv-clients/ready: tests/clients/requirements.txt
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/pip install $(PIP_FLAGS) -r tests/clients/requirements.txt
	touch $@

test-clients: .venv-dev/ready .venv-clients/ready
	SERVER_PYTHON=.venv-dev/bin/python .venv-clients/bin/python -m pytest tests/clients -c tests/clients/pytest.ini --rootdir .

lint: .venv-dev/ready
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .

types: .venv-dev/ready
	.venv-dev/bin/mypy

contracts: .venv-dev/ready
	.venv-dev/bin/lint-imports

units: .venv-dev/ready
	.venv-dev/bin/python -m pytest

voice: .venv-dev/ready
	.venv-dev/bin/python -m models.make_voice $(VOICE_ARGS)

judge: .venv-dev/ready
	.venv-dev/bin/python -m models.judge $(JUDGE_ARGS)

bench: .venv/ready
	.venv/bin/python loadtests/words.py $(BENCH_ARGS)

clean:
	rm -rf .venv .venv-dev .venv-clients build *.egg-info .mypy_cache .ruff_cache .pytest_cache

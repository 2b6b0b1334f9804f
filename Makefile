# Needs make and Python 3.11 or later, nothing else. Everything is installed into .venv; `make clean` removes it all.
#
#   make demo        run tractome on the synthetic subject in sample_data and compare with its truth
#   make test        the tests in the checkout, and those that a wheel may fail against the built wheel outside it
#   make lint        ruff, mypy, import-linter
#   make bench       side by side with MRtrix3 (Debian package: mrtrix3) and DIPY: speed, memory, accuracy
#   make check-real  tests on the shared real scans, where they are present
#   make check-gnn   tests with real torch; TORCH='torch==X' chooses which build is installed
#
# On Linux a plain `torch` may bring several GB of GPU packages. The pinned version is the one whose CPU build we test
# with where one is at hand; to choose another, or to use one that is installed already: make check-gnn TORCH=...

# The newest suitable Python, unless PYTHON says which.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))) python3)
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
WHEEL_ROOM := build/wheel-test
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
SOURCES := $(shell find tractome cli atlases -type f -not -path '*/__pycache__/*' 2>/dev/null)
SAMPLE := sample_data

.PHONY: demo test test-source test-wheel lint bench check-real check-gnn clean help
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

# --- the environment: three steps, each done once and again only when pyproject.toml changes ---

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: tractome needs Python 3.11 or later; got $$($(PYTHON) --version 2>&1)." \
			"Install a newer one and say which: make PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "error: this Python has no venv module; on Debian and Ubuntu it is in the package python3-venv." \
			"Install it: apt-get install python3-venv" >&2; \
		exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	$(PIP) install -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -e '.[dev]'
	@touch $@

# Named by what is wanted, so that another TORCH installs again.
GNN_STAMP = $(VENV)/.installed-gnn-$(subst /,_,$(subst >,_,$(subst <,_,$(TORCH))))
$(GNN_STAMP): $(VENV)/.installed-dev
	$(PIP) install '$(TORCH)' 'torch_geometric>=2.6'
	@touch '$@'

# --- what people call ---

demo: $(VENV)/.installed
	$(BIN)/tractome run --dwi $(SAMPLE)/dwi.nii.gz --mask $(SAMPLE)/mask.nii.gz --tissue $(SAMPLE)/5tt.nii.gz \
		--labels $(SAMPLE)/labels.nii.gz --regions $(SAMPLE)/regions.tsv \
		--streamlines 20000 --out demo_out --subject sample
	$(BIN)/tractome compare demo_out/sub-sample $(SAMPLE)/truth_count.tsv --edges $(SAMPLE)/u_fibre_edges.tsv

# A worker per core; a file stays with one worker, because its tests share what they made.
WORKERS ?= auto
PYTEST_FAST := -m "not real" -n $(WORKERS) --dist loadfile

test: test-source test-wheel

test-source: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PYTEST_FAST)

# The wheel in a fresh environment that sees our dependencies but not this checkout: a .pth file inside another
# environment's site-packages is not read, so the editable install of the checkout cannot stand in for a missing file.
$(WHEEL_ROOM)/.made: $(VENV)/.installed-dev $(SOURCES) pyproject.toml README.md LICENSE
	@rm -rf $(WHEEL_ROOM)
	$(BIN)/python -m build --wheel --outdir $(WHEEL_ROOM) .
	$(BIN)/python -m venv --without-pip $(WHEEL_ROOM)/env
	$(BIN)/python -m pip --disable-pip-version-check -q --python $(WHEEL_ROOM)/env/bin/python install --no-deps $(WHEEL_ROOM)/*.whl
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> "$$($(WHEEL_ROOM)/env/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dependencies.pth"
	@touch $@

# What a wheel may lack and the checkout has: files, entry points, data, names. The arithmetic is the same code.
WHEEL_TESTS := $(patsubst %,tests/test_%.py,analyze atlases check cli consumers export fetched figures group house \
	import_matrices layouts parcellate phantom_presets pipeline pipeline_atlas pipeline_tissue provenance run_path truth)

test-wheel: $(WHEEL_ROOM)/.made
	@room=$$(mktemp -d) && trap 'rm -rf "$$room"' EXIT && \
	cp -r tests $(SAMPLE) pyproject.toml "$$room" && \
	wheel_python="$$PWD/$(WHEEL_ROOM)/env/bin/python" && \
	echo "tests against the wheel, in $$room" && \
	cd "$$room" && PATH="$$(dirname "$$wheel_python"):$$PATH" TRACTOME_TEST_INSTALLED=1 \
		TRACTOME_SHARED_DATA="$${TRACTOME_SHARED_DATA:-$(abspath ..)/shared/data}" \
		"$$wheel_python" -m pytest -p no:cacheprovider $(PYTEST_FAST) $(WHEEL_TESTS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/bench.py

check-real: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m real

check-gnn: $(GNN_STAMP)
	$(BIN)/python -m pytest -m gnn

clean:
	rm -rf $(VENV) build dist demo_out benchmarks/.cache benchmarks/out .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

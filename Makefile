# make demo    install into .venv and run the demonstration; results in build/demo
# make test    every test, on every installed backend
# make lint    ruff and mypy
# make docs    the documentation site, with its pictures, into build/site; a broken link ends it
# make matrix  every plugin on every Python with the oldest core that it allows; prints a table (MATRIX= options)
# make tflite  20 models made by TensorFlow's converter, float and quantised, against LiteRT
# make bench-gpu  conformance and latency of the backends that have a GPU; writes into docs/benchmarks.md (GPU= options)
# make bench-pipeline  the data pipeline and its tunnel, bytewax beside it; writes into docs/benchmarks.md
# make bench-matrix  arrays beside NumPy; writes into docs/benchmarks.md (MATRIX_BENCH= options)
# make bench-cv  pictures beside OpenCV; writes into docs/benchmarks.md (CV_BENCH= options)
# make bench-vm  the task VM, with VM_PYTHON, 3.12 or later; writes into docs/benchmarks.md (VM_BENCH= options)
# make array-api  the array API standard's own test suite on walle_core.matrix (ARRAY_API_TESTS= a checkout of it)
# make bench-training  training steps beside PyTorch's
# make bench-deploy  the deployment platform; writes into docs/benchmarks.md
# make bench   latency of all models against other engines; writes docs/benchmarks.md (BENCH= further options)
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
SHOWN := $(patsubst %/pyproject.toml,%,$(shell grep -l '^demo = \[' plugins/*/pyproject.toml))
TESTED := $(patsubst %/pyproject.toml,%,$(shell grep -l '^test = \[' plugins/*/pyproject.toml))
SOURCES := pyproject.toml setup.py $(shell find walle_core plugins \( -name '*.pyx' -o -name '*.pxd' -o -name '*pp' \
	-o -name '*.h' -o -name setup.py -o -name pyproject.toml \) -not -path '*/build/*')
BIN := .venv/bin
export WALLE_MODELS ?= $(abspath ../shared/models)
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test lint matrix bench bench-gpu bench-pipeline bench-deploy bench-matrix bench-cv bench-vm array-api clean system tflite bench-training docs
demo: .venv/demo.stamp
	$(BIN)/python examples/demo/demo.py --out build/demo

test: .venv/dev.stamp
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(PLUGINS:%=%/tests) tests
	$(BIN)/pytest -n 2 --pyargs walle_core.testing.conformance

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd plugins/deploy && $(abspath $(BIN))/mypy

tflite: .venv/dev.stamp .venv-tensorflow/stamp
	mkdir -p build/tflite
	.venv-tensorflow/bin/python tests/frontends/tflite_convert.py build/tflite
	WALLE_TFLITE_MODELS=$(abspath build/tflite) $(BIN)/pytest -q tests/frontends/test_tflite_models.py

docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

matrix: .venv/dev.stamp
	$(BIN)/python tests/plugin_matrix.py $(MATRIX)

bench: .venv/dev.stamp .venv-peers/stamp .venv-litert/stamp
	$(BIN)/python benchmarks/peers.py --python .venv-peers/bin/python --python litert=.venv-litert/bin/python \
	    --json build/peers.json --plot build/peers.png --markdown docs/benchmarks.md --readme README.md $(BENCH)

bench-gpu: .venv/dev.stamp
	$(BIN)/python benchmarks/gpu.py --check $(GPU)
	$(MAKE) .venv-peers/stamp
	$(BIN)/python benchmarks/gpu.py --python .venv-peers/bin/python --markdown docs/benchmarks.md $(GPU)

bench-pipeline: .venv/dev.stamp .venv-pipeline/stamp
	$(BIN)/python benchmarks/pipeline.py --bytewax .venv-pipeline/bin/python --markdown docs/benchmarks.md
	$(BIN)/python benchmarks/pipeline_tunnel.py --markdown docs/benchmarks.md

bench-matrix: .venv/dev.stamp
	$(BIN)/python benchmarks/matrix.py --markdown docs/benchmarks.md $(MATRIX_BENCH)

bench-cv: .venv/dev.stamp
	$(BIN)/python benchmarks/cv.py --markdown docs/benchmarks.md $(CV_BENCH)

VM_PYTHON ?= $(shell for p in python3.13 $(HOME)/.pyenv/versions/3.13*/bin/python python3.14 python3.12; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$p && break; done)
bench-vm: .venv-vm/stamp
	.venv-vm/bin/python benchmarks/vm.py --markdown docs/benchmarks.md $(VM_BENCH)

.venv-vm/stamp: $(SOURCES)
	$(VM_PYTHON) -m venv .venv-vm
	.venv-vm/bin/pip install -q numpy . ./plugins/backend_avx  # not -e: each interpreter would import its finders, 9 ms and 1.5 MB
	@touch $@

# The suite is on no index: a checkout of its latest release, with its submodule.
ARRAY_API_TESTS ?= build/array-api-tests
array-api: .venv/dev.stamp
	test -d $(ARRAY_API_TESTS) || git clone -q --recurse-submodules https://github.com/data-apis/array-api-tests $(ARRAY_API_TESTS)
	$(BIN)/pip install -q -r $(ARRAY_API_TESTS)/requirements.txt
	cd $(ARRAY_API_TESTS) && ARRAY_API_TESTS_MODULE=walle_core.matrix ARRAY_API_TESTS_VERSION=2024.12 \
	    $(abspath $(BIN))/pytest -q array_api_tests --max-examples 200 --disable-deadline $(ARRAY_API)

bench-training: .venv/dev.stamp .venv-training/stamp
	$(BIN)/python benchmarks/training.py --python .venv-training/bin/python

bench-deploy: .venv/dev.stamp
	$(BIN)/python benchmarks/deploy.py --markdown docs/benchmarks.md

.venv-%/stamp: benchmarks/requirements-%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install -q -r $< numpy
	@touch $@

.venv/%.stamp: $(SOURCES)
	@sh .ci/system "$(PYTHON)"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e ".[$*]" $(foreach p,$(PLUGINS),-e "./$(p)$(if $(filter dev,$*),$(if $(filter $(p),$(TESTED)),[test]),$(if $(filter $(p),$(SHOWN)),[demo]))")
	@touch $@

clean:
	rm -rf .venv .venv-peers .venv-litert .venv-pipeline .venv-vm build dist *.egg-info plugins/*/build plugins/*/src/*.egg-info .venv-tensorflow .venv-training
	find walle_core plugins -name '*.so' -delete

# Every target creates and updates .venv by itself. `make demo` and `make test` need nothing else.

SHELL  := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN    := .venv/bin
READY  := .venv/.ready

# Independent programs that the integration tests and the bench compare with and talk to.
PROGRAMS := orthanc orthanc-dicomweb dcmtk bart ismrmrd-tools dcm2niix postgresql chromium

export OMP_NUM_THREADS ?= 2

# Files of tests at a time. With 1, as a debugger needs it, nothing of the output is held back.
AT_ONCE ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help demo test faults week fuzz mutants bench lab pictures lint check sbom advisories lowest newest clean programs

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

demo: $(READY)  ## a node and a PACS on this machine, one scan through both; INPUT=file.h5 takes any ISMRMRD file, VIEWER=1 shows it
	@$(BIN)/lfmri-node demo $(if $(INPUT),--input "$(INPUT)")
	@$(if $(VIEWER),$(BIN)/lfmri-node viewer demo-out/node/data/objects)

test: $(READY) programs  ## all tests, two files at a time (AT_ONCE=1: one); installs with apt what they need, where it may
	@LFMRI_REQUIRE_INTEGRATION=$${LFMRI_REQUIRE_INTEGRATION:-$$($(MAY_INSTALL) && echo 1 || echo 0)} \
		$(if $(filter-out 1,$(AT_ONCE)),OMP_NUM_THREADS=1) $(BIN)/python -m pytest \
		$(if $(filter-out 1,$(AT_ONCE)),-n $(AT_ONCE) --dist loadfile) $(ARGS)

mutants: $(READY)  ## change important places one by one: do the tests see it? (minutes); ARGS=--list names them
	@$(BIN)/python tests/mutants/run.py $(ARGS)

bench: $(READY) programs  ## the figures of the README, written to bench/results.json (under 30 minutes)
	@$(BIN)/python tests/bench/run.py $(ARGS)

faults: $(READY) programs  ## kill -9 and every other fault at random: faults-out/ (ARGS="--kills 10 --seed 2")
	@$(BIN)/python tests/faults/run.py $(ARGS)

week: $(READY) programs  ## 5,000 small exams over a simulated week with every fault at random (ARGS="--exams 200 --seed 2")
	@$(BIN)/python tests/faults/week.py $(ARGS)

fuzz: $(READY)  ## 100,000 damaged inputs at every place where foreign bytes are read (ARGS="--inputs 4000 --only xml")
	@$(BIN)/python tests/faults/fuzz.py $(ARGS)

lab: $(READY)  ## the laboratory at toy size on phantoms: train, evaluate, report (minutes); DATA=folder takes real images
	@rm -rf lab-out && mkdir lab-out
	@$(if $(DATA),ln -s "$(abspath $(DATA))" lab-out/data,$(BIN)/lfmri-lab stand-in lab-out/data)
	@$(BIN)/lfmri-lab train net-c judge lf-mri lf-off u-net --data lab-out/data --runs lab-out/runs --max-steps 12 --limit 6
	@$(BIN)/lfmri-lab evaluate --data lab-out/data --runs lab-out/runs --out lab-out/report --slices 1 --strokes 2 --acceleration 4

pictures: $(READY) programs  ## the demonstration, then the pictures in the docs made anew from it
	@$(BIN)/lfmri-node demo
	@cp demo-out/pictures/slice.png deploy/docs/demo.png
	@$(BIN)/python tests/browser/pictures.py

lint: $(READY)  ## ruff, mypy, the direction of the layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint test sbom advisories  ## lint, test, bill of materials, known vulnerabilities

SBOM := dist/lfmri-node.cdx.json
sbom: $(READY)  ## what this environment is made of, with versions and licences (CycloneDX): dist/lfmri-node.cdx.json
	@mkdir -p dist
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --sv 1.6 --of JSON --output-reproducible -o $(SBOM) $(BIN)/python

advisories: $(READY)  ## known vulnerabilities of what constraints.txt pins; says so where nobody can be asked
	@$(BIN)/python tests/supply/advisories.py

lowest:  ## a part of the tests with the lowest versions of all that pyproject.toml names (2 minutes)
	@$(call at_the_edge,.venv-lowest,$(PYTHON),--resolution lowest-direct,$(EDGE_TESTS) $(TORCH_TESTS))

newest:  ## the part of it that needs no torch with the highest versions, on the newest Python here (1 minute)
	@mkdir -p .venv-newest && echo "torch; python_version < '3'" > .venv-newest/without-torch
	@$(call at_the_edge,.venv-newest,$(NEWEST),--override .venv-newest/without-torch,$(EDGE_TESTS))

clean:  ## remove what the other targets made, but for .venv
	rm -rf build dist bench demo-out faults-out lab-out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find node dicom_io recon tests -name __pycache__ -prune -exec rm -rf {} +

# The layers are linked into site-packages/lfmri_node, because mypy, pyright and editors do not follow the hook of an
# editable installation and take every name of ours for Any. The links stand in RECORD, so that pip removes them too.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed; name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv >/dev/null \
		|| { rm -rf .venv; $(call install,$(notdir $(PYTHON))-venv) && $(PYTHON) -m venv .venv; } \
		|| { rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment: install python3-venv"; exit 1; }
	@echo "installing into .venv (two minutes or so the first time)"
	@$(BIN)/pip install -qq -c constraints.txt -e '.[dev]'
	@site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	mkdir -p "$$site/lfmri_node"; \
	for layer in node dicom_io recon; do \
		ln -sfn "$(CURDIR)/$$layer" "$$site/lfmri_node/$$layer" && echo "lfmri_node/$$layer,,"; \
	done >> "$$site"/lfmri_node-*.dist-info/RECORD
	@touch $(READY)

# What is beside PATH is pyenv's, whose commands of these names do not run unless a version is chosen.
NEWEST       = $(shell for minor in 13 12 11; do \
		for python in python3.$$minor $$HOME/.pyenv/versions/3.$$minor.*/bin/python; do \
			"$$python" -c '' 2>/dev/null && { echo "$$python"; exit; }; done; done)
EDGE_TESTS  := $(addprefix tests/,dicom_io/objects dicom_io/raw_data dicom_io/receive/test_commands.py \
		node/test_config.py node/test_logs.py node/jobs/test_store.py node/retention/test_plan.py)
TORCH_TESTS := $(addprefix tests/recon/,sense mrd method)
# uv does not read pip's settings; where pip is shown wheels (the CPU build of torch), so is uv.
WHEELS       = $(addprefix --find-links ,$(PIP_FIND_LINKS))
at_the_edge  = { test -x $(1)/bin/uv || { $(2) -m venv $(1) && $(1)/bin/pip install -qq uv; }; } \
	&& $(1)/bin/uv pip install -q --python $(1)/bin/python $(WHEELS) $(3) -e '.[dev]' \
	&& $(1)/bin/python -m pytest -q $(4) $(ARGS)

AS_ROOT     = $$(test "$$(id -u)" = 0 || echo sudo -n)
MAY_INSTALL = { command -v apt-get && { test "$$(id -u)" = 0 || sudo -n true; }; } >/dev/null 2>&1
install     = $(MAY_INSTALL) && { echo "installing with apt-get: $(1)"; $(AS_ROOT) apt-get -qq update \
	&& $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends $(1) >/dev/null; }

programs:
	@missing=$$(for name in $(PROGRAMS); do \
		dpkg-query -W -f '$${db:Status-Abbrev}' $$name 2>/dev/null | grep -q ^ii || echo $$name; done | xargs); \
	test -z "$$missing" || { $(call install,$$missing); } || echo "not installed: $$missing"

# Everything a developer and CI do. Each target creates .venv when it is missing or stale.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Examples of each property; the nightly job's number.
EXAMPLES ?= 500

# Damaged logs for each importer; the nightly job's number.
FUZZ_CASES ?= 10000

# Random schedules against the hardened pair, and random plans on any engine; the nightly job's numbers.
SCHEDULES ?= 10000
PLANS ?= 2000

# Labelled replays on which verdicts are tried.
VERDICTS ?= 500

.PHONY: demo example check test nightly properties fuzz schedules kills verdicts mooncake cost biglog lint format types clean

demo: $(STAMP)
	$(BIN)/kvreplay demo --out demo-out

# The report in docs/example and its picture in the README, from the demo; needs Chromium.
example: $(STAMP)
	$(BIN)/python docs/example/make.py

# The inner loop: about two minutes on two cores. What the markers of pyproject.toml leave out is in `test`.
check: lint types
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not (slow or browser or wheels or dask or fuzz)"

# A module stays on one worker, so that what its tests share is made once.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile

# The same properties, many more times.
nightly: properties fuzz schedules kills verdicts mooncake

properties: $(STAMP)
	KVREPLAY_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n auto --dist worksteal -m hypothesis

fuzz: $(STAMP)
	KVREPLAY_FUZZ_CASES=$(FUZZ_CASES) $(BIN)/python -m pytest -n auto --dist worksteal tests/traces/formats/test_fuzz_importers.py tests/diagnosis/test_reading_properties.py

schedules: $(STAMP)
	KVREPLAY_SCHEDULES=$(SCHEDULES) $(BIN)/python -m pytest -n auto -k survives tests/reproduce/test_schedules.py
	KVREPLAY_SWARM_SEEDS=$(PLANS) KVREPLAY_FUZZ_CASES=$(PLANS) $(BIN)/python -m pytest -n auto tests/run/test_swarm.py tests/run/test_fault_fuzz.py

# Every writer cut off at every step; every verb on random places; a matrix killed at 20 moments.
kills: $(STAMP)
	KVREPLAY_KILLS=all KVREPLAY_ZOO_CASES=10000 KVREPLAY_MATRIX_KILLS=20 $(BIN)/python -m pytest -n auto --dist loadfile tests/files tests/matrix/test_matrix_kill.py

verdicts: $(STAMP)
	$(BIN)/python tests/quality/measure_verdicts.py --cells $(VERDICTS)

mooncake: $(STAMP)
	KVREPLAY_MOONCAKE_REQUESTS=12031 $(BIN)/python -m pytest -n auto tests/run/test_mooncake_topologies.py

cost: $(STAMP)
	KVREPLAY_COST=1 $(BIN)/python -m pytest tests/pool/test_pool_cost.py

# Makes logs of 2 GiB in a temporary folder, one after the other, and removes them.
biglog: $(STAMP)
	$(BIN)/python tests/diagnosis/measure_big_log.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo-out build *.egg-info

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

# make demo   a sample release, its store, a query, a reduction and a picture, in ./demo
# make test   the suite          make quick   without its slow part
# make long   what the suite leaves out: random kills, memory over time, whole clusters, all 513 scenes
# make check  lint, import order, types   make wheel   the built wheel, alone in a new environment
# make audit  known vulnerabilities in requirements.lock; AUDIT=--required fails where nobody can tell
# make lock   renew requirements.lock from pyproject.toml
# make fuzz   damaged input for SECONDS (300), drawn by SEED; what is not refused as it should be is kept in build/fuzz
# make gdal   the readers' tests for GDAL, from Debian sid in a chroot; needs root and mmdebstrap
# make record  convert and prove the genuine record (RECORD, 15 GB, needs internet); its MD5s, the report, public counts beside ours
# make hardship       full disks and kills at every write, and 200 signals at random moments; an hour
# make soak MINUTES=10   conversions ended and resumed, stores opened and computed, for so long each; what they took
# make bench  our time, the peers' and the floor for each work, in one table; build/bench.json and build/bench.md
# make bench-layout   layouts of reflectance compared: size, processor time, use, network
# make bench-scale    what grows with the number of scenes, up to a million
# make bench-remote   requests, bytes and seconds over a slow network

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DEMO := $(VENV)/demo
UV := $(BIN)/uv
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
JOBS ?= auto
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The suite starts hundreds of interpreters, each of which would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test long quick check audit format wheel bench bench-layout bench-scale bench-remote fuzz gdal record hardship soak lock clean

# An environment with nothing but uv, of the version and hashes in the lock.
$(UV): requirements.lock pyproject.toml .python-version
	@python3 -c 'import sys; v = sys.version_info; v >= (3, 12) or sys.exit("Python >= 3.12 is needed, python3 is %d.%d; install the version in .python-version" % v[:2])'
	python3 -m venv --clear $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.txt
	$(BIN)/pip install --quiet --require-hashes --requirement $(VENV)/uv.txt
	touch $(UV)

# What users install, with versions and hashes of the lock.
$(DEMO): $(UV)
	$(INSTALL) --constraint requirements.lock --build-constraint requirements.lock --editable '.[convert,plot]'
	touch $(DEMO)

$(READY): $(UV)
	$(INSTALL) --require-hashes --requirement requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $(READY)

demo: $(DEMO)
	rm -rf demo && mkdir demo
	$(BIN)/s2cmc sample demo/release --scenes 8 --size 256
	$(BIN)/s2cmc convert demo/release demo/catalogue.zarr
	$(BIN)/s2cmc info demo/catalogue.zarr
	$(BIN)/s2cmc select demo/catalogue.zarr "cumulus and not snow_ice" --split train
	$(BIN)/s2cmc fractions demo/catalogue.zarr --where "cumulus and not snow_ice"
	$(BIN)/s2cmc stats demo/catalogue.zarr --by difficulty --html demo/statistics.html
	$(BIN)/s2cmc gallery demo/catalogue.zarr demo/gallery.png
	@printf '\nLook at demo/gallery.png and demo/statistics.html, of synthetic scenes. Then try:\n\n'
	@printf '  %s\n' "$(BIN)/s2cmc select demo/catalogue.zarr 'cumulus or cirrus'" \
		"$(BIN)/s2cmc export demo/catalogue.zarr demo/scenes --format cog --where cirrus" \
		"$(BIN)/python -ic \"import s2cmc; ds = s2cmc.open_catalogue('demo/catalogue.zarr'); print(ds)\""

test: $(READY)
	$(BIN)/pytest -n $(JOBS) --dist loadfile -m "not long"

long: $(READY)
	$(BIN)/pytest -n $(JOBS) --dist loadfile -m long

quick: $(READY)
	$(BIN)/pytest -n $(JOBS) -m "not slow"

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

audit: $(READY)
	$(BIN)/python .ci/audit.py $(AUDIT)

format: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

INTO_EMPTY := $(UV) pip install --quiet --python build/empty/bin/python --constraint requirements.lock
wheel: $(READY)
	rm -rf build dist && mkdir -p build dist
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	python3 -m venv --clear build/empty
	$(INTO_EMPTY) "$$(echo dist/s2cmc-*.whl)[convert]"
	cd build && empty/bin/s2cmc sample release --scenes 2 --size 64
	cd build && empty/bin/s2cmc convert release store.zarr
	cd build && empty/bin/s2cmc verify store.zarr release
	cd build && empty/bin/s2cmc stats store.zarr --json statistics.json > statistics.txt
	cd build && empty/bin/s2cmc export store.zarr export --format cog
	$(INTO_EMPTY) "$$(echo dist/s2cmc-*.whl)[geo]"
	cd build && empty/bin/s2cmc metadata store.zarr

BENCH := $(VENV)/bench
bench: $(BENCH)
	$(BIN)/pytest -q -s benchmarks/test_reading.py benchmarks/test_plain_xarray.py benchmarks/test_overnetwork.py benchmarks/test_whole.py

# The peers; what the lock names keeps its version.
$(BENCH): $(READY)
	$(INSTALL) --constraint requirements.lock --group bench
	touch $(BENCH)

bench-layout: $(BENCH)
	PYTHONPATH=tests:benchmarks $(BIN)/python benchmarks/layouts.py

bench-scale: $(READY)
	$(BIN)/python benchmarks/scale.py

bench-remote: $(READY)
	$(BIN)/pytest -q -s benchmarks/test_remote.py

fuzz: $(READY)
	PYTHONPATH=tests $(BIN)/python -m helpers.fuzz $(or $(SECONDS),300) $(SEED)

hardship: $(READY)
	S2CMC_EVERY_WRITE=1 S2CMC_MOMENTS=200 $(BIN)/pytest -q tests/robustness/test_disk_full.py \
		tests/robustness/test_signals.py tests/conversion/convert/test_resume.py

MINUTES ?= 10
soak: $(READY)
	S2CMC_SOAK_MINUTES=$(MINUTES) $(BIN)/pytest -q -s tests/robustness/test_soak.py

GDAL := build/gdal
gdal: $(READY) $(GDAL)/usr/lib/python3/dist-packages/osgeo
	S2CMC_GDAL_PYTHON="tests/integration/readers/in_chroot.sh $(GDAL)" $(BIN)/pytest tests/integration/test_gdal.py

$(GDAL)/usr/lib/python3/dist-packages/osgeo:
	rm -rf $(GDAL) && mkdir -p $(GDAL)
	mmdebstrap --quiet --variant=apt --include=python3-gdal,python3-numpy $(MMDEBSTRAP_OPTIONS) sid $(GDAL)

RECORD ?= zenodo:4172871
record: $(READY)
	mkdir -p build/record
	$(BIN)/s2cmc convert $(RECORD) build/record/catalogue.zarr --keep build/record/release --report build/record/report.json
	$(BIN)/s2cmc verify build/record/catalogue.zarr build/record/release
	cd tests && ../$(BIN)/python -m helpers.record_counts ../build/record/report.json
	$(BIN)/s2cmc download $(RECORD) build/record/release
	$(BIN)/s2cmc verify --published build/record/release

lock: $(UV)
	$(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.12 \
		--all-extras --group dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist demo *.egg-info

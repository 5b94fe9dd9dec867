# make run    set up what is missing and start Lumilio on ./data (ARGS="--port 8080" is passed on)
# make test   set up and run the whole gate
export PYTHON
compile = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header $(UPGRADE)

.PHONY: setup run test lock format bench moved
.DELETE_ON_ERROR:

setup: .venv/.setup

run: setup
	.venv/bin/lumilio up --data data $(ARGS)

# The stamp holds the checkout's path, because an environment cannot be moved.
.venv/.setup: requirements.txt requirements-build.txt pyproject.toml .ci/setup $(if $(subst :$(CURDIR):,,:$(shell cat .venv/.setup 2>&1):),moved)
	.ci/setup
	echo $(CURDIR) > $@

.venv/.setup-dev: .venv/.setup requirements-dev.txt
	.venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes \
		--no-deps --no-build-isolation --requirement requirements-dev.txt
	touch $@

test: .venv/.setup-dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	find lumilio tests -name '*.py' -not -path '*/_pb/*' -exec wc -l {} + | awk \
		'$$2 != "total" && $$1 > 500 { print $$2 " has " $$1 " lines, the limit is 500"; bad = 1 } END { exit bad }'
	.venv/bin/python -m pytest -n auto --dist worksteal -p tests.forbid_skips

# UPGRADE=--upgrade takes the newest versions, else what is locked stays.
lock: .venv/.setup-dev
	$(compile) pyproject.toml --output-file requirements.txt
	$(compile) pyproject.toml --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	$(compile) --group build --constraint requirements-dev.txt --output-file requirements-build.txt
	$(compile) --group peers --constraint requirements-dev.txt --output-file requirements-peers.txt

format: .venv/.setup-dev
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

.venv/.setup-peers: .venv/.setup-dev requirements-peers.txt
	.venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes \
		--no-deps --no-build-isolation --requirement requirements-peers.txt
	touch $@

bench: .venv/.setup-peers
	.venv/bin/python -m tests.benchmarks.startup $(ARGS)
	.venv/bin/python -m tests.benchmarks.api $(ARGS)
	.venv/bin/python -m tests.benchmarks.ingest $(ARGS)
	.venv/bin/python -m tests.benchmarks.queue $(ARGS)
	.venv/bin/python -m tests.benchmarks.thumbnails $(ARGS)
	.venv/bin/python -m tests.benchmarks.raw $(ARGS)
	.venv/bin/python -m tests.benchmarks.video $(ARGS)
	.venv/bin/python -m tests.benchmarks.exiftool $(ARGS)

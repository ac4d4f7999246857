# make serve        the site on http://localhost:8000 (PORT= changes it)
# make production   the same for others to use: under gunicorn, with DEBUG off (docs/deploy.md)
# make test         lint, types, architecture and every test
# make lint         all of that but the tests, in a minute
# make static       style sheets and scripts for production, compressed, into var/static
# make torture      the production server while everything around it fails; writes benchmarks/FAULTS.md
# make admin        an account for the admin pages
# make bench        serving beside a Flask yardstick and the bare limit; needs wrk
# make bench-train  training beside Keras' ImageDataGenerator
# make bench-bulk   20,000 files through predict_images
# make audit        known weaknesses of the pinned packages (asks pypi.org)
# make openapi      docs/openapi.yaml, the description of the API that a test compares
# make messages     the sentences to translate, after any was written or changed (docs/translations.md)
# make format       put every file into the house format

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin

.PHONY: serve production static test torture admin format lint audit openapi messages bench bench-train bench-bulk
.DELETE_ON_ERROR:

serve: $(VENV)/.installed
	@$(BIN)/python manage.py migrate --verbosity 0
	$(BIN)/python manage.py runserver --noreload $(PORT)

# Where no SECRET_KEY is given, this checkout makes one and keeps it.
production: $(VENV)/.installed static var/secret_key.production
	@if [ -z "$$SECRET_KEY$$SECRET_KEY_FILE" ] && ! grep -qsE '^(export )?SECRET_KEY(_FILE)?=.' .env; then \
	  export SECRET_KEY_FILE=var/secret_key.production; fi; \
	PORT=$(PORT) exec $(BIN)/python -m pneumonia_site

var/secret_key.production: | $(VENV)/bin/python
	@mkdir -p var && umask 077 && $(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))' >$@

static: var/static/staticfiles.json

var/static/staticfiles.json: $(VENV)/.installed $(shell find static -type f) pneumonia_site/staticfiles.py
	@rm -rf var/static && mkdir -p var/static
	@DEBUG=False SECRET_KEY=of-no-use-here $(BIN)/python manage.py collectstatic --noinput --verbosity 0

admin: $(VENV)/.installed
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py createsuperuser

test: lint static
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint templates --lint --check --quiet
	$(BIN)/lint-imports --no-logo
	$(BIN)/bandit --quiet --recursive diagnosis ml_model pneumonia_site benchmarks --exclude '*/tests/*' --skip B404,B603,B607
	$(BIN)/mypy
	$(BIN)/python manage.py makemigrations --check --dry-run

torture: $(VENV)/.installed-dev static
	$(BIN)/python benchmarks/torture.py

bench: $(VENV)/.installed-dev static
	$(BIN)/python benchmarks/side_by_side.py

bench-train: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/training.py

bench-bulk: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/bulk.py

audit: $(VENV)/.installed-dev
	$(BIN)/pip-audit --strict --requirement requirements.txt

openapi: $(VENV)/.installed
	$(BIN)/python manage.py spectacular --file docs/openapi.yaml

# Names of the files are kept, since sentences move; their lines are not, since they change with every edit.
MESSAGES := $(BIN)/python manage.py makemessages --all --add-location file --no-obsolete --ignore .venv --ignore var --ignore shared

messages: $(VENV)/.installed
	$(MESSAGES)
	$(MESSAGES) --domain djangojs --ignore docs --ignore '*/tests/*'
	$(BIN)/python manage.py compilemessages --verbosity 0

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djlint templates --reformat --quiet

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it with PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# Without compiling every module beforehand, of which tests read few.
$(VENV)/.installed-dev: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-dev.txt
	@touch $@ $(VENV)/.installed

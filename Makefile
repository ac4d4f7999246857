# Run the site
#   make serve        for development, on http://localhost:8000 (PORT=9000 make serve changes the port)
#   make production   for others to use: under gunicorn, with DEBUG off (docs/deploy.md)
#   make admin        create an account with every right
#   make static       collect and compress style sheets and scripts for production, into var/static
#
# Check
#   make test         lint, types, architecture and all tests
#   make lint         the same without the tests, in a minute
#   make audit        known vulnerabilities of the pinned packages (asks pypi.org)
#
# Measure
#   make bench        serving, beside a Flask yardstick and the bare limit; needs wrk
#   make bench-train  training, beside Keras' ImageDataGenerator
#   make bench-bulk   20,000 files through predict_images
#   make torture      the production server while everything around it fails; writes benchmarks/FAULTS.md
#
# Renew after a change
#   make openapi      docs/openapi.yaml, the API's description, which a test compares with the code
#   make messages     the catalogues of strings to translate (docs/translations.md)
#   make format       all files, in the house format

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin

.PHONY: serve production static test torture admin format lint audit openapi messages bench bench-train bench-bulk
.DELETE_ON_ERROR:

serve: $(VENV)/.installed
	@$(BIN)/python manage.py migrate --verbosity 0
	$(BIN)/python manage.py runserver --noreload $(PORT)

# Without a SECRET_KEY, this checkout generates one and keeps it.
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

# Entries name the file they come from, but not the line, which changes with every edit.
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

# Modules are not compiled beforehand, because tests import few of them.
$(VENV)/.installed-dev: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-dev.txt
	@touch $@ $(VENV)/.installed

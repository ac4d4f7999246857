"""Settings, read once from the environment or a file .env, by environment.py. .env.example lists each.

Nothing needs to be set. Until ALLOWED_HOSTS is, a site with DEBUG off answers this machine alone.
"""

import contextlib
import datetime
import os
import secrets

from django.core.exceptions import ImproperlyConfigured

from pneumonia_site.environment import BASE_DIR, env
from pneumonia_site.sqlite import OwnersAlone

# Everything the site writes: database, pictures, training checkpoints.
VAR_DIR = env.folder("VAR_DIR", default=BASE_DIR / "var")

# --- Security ---------------------------------------------------------------------------

DEBUG = env.flag("DEBUG", default=True)


def own_key() -> str:
    """A key of this checkout's own for development, kept so that a restart logs nobody out."""
    path = VAR_DIR / "secret_key"
    if not path.exists():
        draft = VAR_DIR / f"secret_key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)  # never over the one that another process has just made
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()


SECRET_KEY = env.text("SECRET_KEY", default="").strip() or (own_key() if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set, or empty. Where DEBUG is False it must be long and random: `make production` makes one."
    )
THIS_MACHINE = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS", default=["*"] if DEBUG else THIS_MACHINE)
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS", default=[])

# For others, browsers are redirected to HTTPS and told to stay there (HSTS), and cookies are sent over HTTPS only.
HTTPS = env.flag("HTTPS", default=not DEBUG and ALLOWED_HOSTS != THIS_MACHINE)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]  # load balancers ask without it
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
NUM_PROXIES = env.number("NUM_PROXIES", default=0, least=0, most=100)
if NUM_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# HSTS for subdomains and preloading are not this site's to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # A picture is shown from the person's own disk before it is sent; the API's page draws its icons from data.
        "img-src": ["'self'", "blob:", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- Application ------------------------------------------------------------------------

INSTALLED_APPS = [
    "diagnosis.apps.DiagnosisConfig",
    "diagnosis.apps.AdminSiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",  # so that every server serves them alike
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "rest_framework",
    "knox",
    "django_filters",
    "import_export",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "diagnosis.middleware.tell_of_requests",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "diagnosis.middleware.answer_probes",
    "diagnosis.middleware.keep_answers_private",
    "diagnosis.middleware.Sessions",
    "django.middleware.locale.LocaleMiddleware",
    "diagnosis.middleware.limit_request_size",  # after the language, which its refusal is written in
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "diagnosis.middleware.take_along_what_was_in_flight",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "diagnosis.middleware.explain_wrong_method",
    "diagnosis.middleware.FaultsOfTheMachine",
]
ROOT_URLCONF = "pneumonia_site.urls"
WSGI_APPLICATION = "pneumonia_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "diagnosis.web.context.served_model",
                "diagnosis.web.context.person",
                "diagnosis.web.context.theme",
            ]
        },
    }
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# Ten wrong passwords for one name from one address: a quarter of an hour's rest.
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = datetime.timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "diagnosis.api.throttles.address_of"
AXES_LOCKOUT_CALLABLE = "diagnosis.web.accounts.locked_out"
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
SIGN_UP = env.flag("SIGN_UP", default=DEBUG)
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "diagnosis:upload"
LOGOUT_REDIRECT_URL = "diagnosis:upload"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

EMAIL_CONFIG = env.connection(
    "EMAIL_URL",
    env.email_url_config,
    default=env.email_url_config("consolemail://"),
    example="smtp+tls://user:password@mail.example.org:587",
)
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("DEFAULT_FROM_EMAIL", default="pneumonia-site@localhost")

# --- Database and files -----------------------------------------------------------------

DATABASES = {
    "default": env.connection(
        "DATABASE_URL",
        env.db_url_config,
        default={"ENGINE": "django.db.backends.sqlite3", "NAME": str(VAR_DIR / "db.sqlite3")},
        example="postgres://user:password@host:5432/name",
    )
}
if DATABASES["default"]["ENGINE"] not in ("django.db.backends.sqlite3", "django.db.backends.postgresql"):
    raise ImproperlyConfigured("The setting DATABASE_URL must begin with postgres:// or sqlite:///.")
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "factory": OwnersAlone,
        # Writers queue instead of failing, and readers do not wait for them.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,  # seconds
        # Foreign keys are on by Django. The file is not mapped into memory: where a disk fails, that kills the process.
        # After a loss of power the last second of writing may be missing; the rest is whole.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=67108864; "
        "PRAGMA cache_size=-16000; PRAGMA temp_store=MEMORY;",
    }
    # Tests get a file too: threads of a test server cannot share a database in memory.
    DATABASES["default"]["TEST"] = {"NAME": VAR_DIR / "test.sqlite3"}
# Connections of production stay open for a minute: opening one costs two milliseconds.
DATABASES["default"].setdefault("CONN_MAX_AGE", 0 if DEBUG else 60)
DATABASES["default"].setdefault("CONN_HEALTH_CHECKS", True)
# Throttles count here. By default each process counts for itself.
CACHES = {
    "default": env.connection(
        "CACHE_URL",
        env.cache_url_config,
        default=env.cache_url_config("locmemcache://"),
        example="filecache:///srv/pneumonia-site/cache",
    )
}
# Django's own limit is 300 entries: as many others would make a throttled caller free again. The cache of files reads
# the names of all at each write, which takes tens of milliseconds with so many.
_MOST_ENTRIES = {"locmem.LocMemCache": 100_000, "db.DatabaseCache": 100_000, "filebased.FileBasedCache": 10_000}
for _name, _most in _MOST_ENTRIES.items():
    if CACHES["default"]["BACKEND"].endswith(_name):
        CACHES["default"].setdefault("OPTIONS", {}).setdefault("MAX_ENTRIES", _most)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# X-rays and heatmaps: no MEDIA_URL on purpose. A view that asks who is looking serves them.
MEDIA_ROOT = str(BASE_DIR / env.text("MEDIA_ROOT", default=str(VAR_DIR / "media")))
FILE_UPLOAD_HANDLERS = [
    "pneumonia_site.uploads.AnyFileName",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# `make static` collects them here, compressed and under names that tell their content; they belong to the checkout.
STATIC_ROOT = BASE_DIR / "var" / "static"
with contextlib.suppress(OSError):  # the checkout may be read-only; collecting is optional
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)
_AS_THEY_ARE, _HASHED = (
    "django.contrib.staticfiles.storage.StaticFilesStorage",
    "pneumonia_site.staticfiles.HashedFiles",
)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": _AS_THEY_ARE if DEBUG else _HASHED,
        # Unlike pictures they are for all: who collects them need not be who serves them.
        "OPTIONS": {"file_permissions_mode": 0o644, "directory_permissions_mode": 0o755},
    },
}
WHITENOISE_USE_FINDERS = DEBUG or not (STATIC_ROOT / "staticfiles.json").exists()
WHITENOISE_ALLOW_ALL_ORIGINS = False  # nobody else needs them

# --- Language and time ------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("fr", "Français"), ("ar", "العربية")]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_AGE = 365 * 24 * 60 * 60
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SECURE = HTTPS
FORMAT_MODULE_PATH = "pneumonia_site.formats"
TIME_ZONE = env.time_zone("TIME_ZONE", default="UTC")
USE_TZ = True

# --- Diagnosis --------------------------------------------------------------------------

MODELS_DIR = env.text("MODELS_DIR", default=str(BASE_DIR / "ml_model" / "trained"))  # bundles, and which is served
MODEL_BUNDLE = env.text("MODEL_BUNDLE", default="")  # a version or a folder; empty is what MODELS_DIR/current names
OPERATING_POINT = env.text("OPERATING_POINT", default="")  # empty is the bundle's own default
MAX_UPLOAD_MB = env.number("MAX_UPLOAD_MB", default=25.0, least=0.1, most=10_000)
MAX_MEGAPIXELS = env.number("MAX_MEGAPIXELS", default=60.0, least=0.1, most=10_000)
MAX_FILES_PER_REQUEST = env.number("MAX_FILES_PER_REQUEST", default=20, least=1, most=1_000)
DATA_UPLOAD_MAX_NUMBER_FILES = MAX_FILES_PER_REQUEST + 100  # a few too many are refused in words
ANONYMOUS_UPLOADS = env.flag("ANONYMOUS_UPLOADS", default=DEBUG)
PREDICT_THROTTLE = env.rate("PREDICT_THROTTLE", default="120/min")
API_THROTTLE = env.rate("API_THROTTLE", default="600/min")
ACCOUNT_THROTTLE = env.rate("ACCOUNT_THROTTLE", default="30/hour")

# --- API --------------------------------------------------------------------------------

KNOX_TOKEN_MODEL = "diagnosis.ApiToken"  # noqa: S105  # nosec B105
# Each token has a term of its own.
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_TTL": None}  # nosec B105
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "diagnosis.api.authentication.BearerAuthentication",  # first, so that a refusal is 401 and says how
        "diagnosis.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["diagnosis.api.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "diagnosis.api.negotiation.WhatThereIs",
    "DEFAULT_PAGINATION_CLASS": "diagnosis.api.pagination.Keyset",
    "DEFAULT_THROTTLE_CLASSES": ["diagnosis.api.throttles.CallerThrottle"],
    "DEFAULT_THROTTLE_RATES": {"predict": PREDICT_THROTTLE, "api": API_THROTTLE, "account": ACCOUNT_THROTTLE},
    "NUM_PROXIES": NUM_PROXIES,
    "EXCEPTION_HANDLER": "diagnosis.api.problems.as_problem",
    "DEFAULT_SCHEMA_CLASS": "diagnosis.api.schema.Schema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Pneumonia Site",
    "DESCRIPTION": "Reads chest X-rays for pneumonia. Programs log in with a bearer token from the account page; "
    "errors are RFC 9457 problem details. For education and research. Not for clinical use without validation.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/",
    "PATH_CONVERTER_OVERRIDES": {"key": {"type": "string", "format": "uuid"}},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "diagnosis.api.schema.add_problems",
        "diagnosis.api.schema.tell_of_known_fields",
    ],
}

# --- Export -----------------------------------------------------------------------------

IMPORT_EXPORT_ESCAPE_ILLEGAL_CHARS_ON_EXPORT = True  # a spreadsheet knows no control characters

# --- Watching ---------------------------------------------------------------------------

METRICS_TOKEN = env.text("METRICS_TOKEN", default="")  # empty: there is no /metrics

LOG_FORMATS = {"line": "diagnosis.logs.Line", "json": "diagnosis.logs.Json"}
LOG_FORMAT = env.one_of("LOG_FORMAT", LOG_FORMATS, default="line" if DEBUG else "json")
LOG_LEVEL = env.one_of("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), default="INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"chosen": {"()": LOG_FORMATS[LOG_FORMAT]}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "chosen"},
        "nowhere": {"class": "logging.NullHandler"},
    },
    "loggers": {
        "axes": {"level": "WARNING"},
        # Django's own handlers beside this one would say everything twice.
        "django": {"handlers": []},
        # Requests are told by diagnosis.middleware, in one line each and without their address.
        "django.request": {"level": "ERROR"},
        "django.server": {"handlers": ["nowhere"], "propagate": False},
        # gunicorn warns of each HEAD that its answer, made as for GET, has a body, and drops that as it should.
        "gunicorn.http.wsgi": {"level": "ERROR"},
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
}

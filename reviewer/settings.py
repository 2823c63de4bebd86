"""Settings of the Winnow web project.

Every value that an installation may want to change is an environment variable listed in the README; a wrong
value is refused at start with what was expected. All state lives under WINNOW_HOME.
"""

import contextlib
import os
import secrets
import socket
import tempfile
from pathlib import Path
from zoneinfo import available_timezones

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from labeling.outbound.rules import OutboundRule

BASE_DIR = Path(__file__).resolve().parent.parent


def env_bool(name: str, default: bool) -> bool:
    """An environment variable that must be one of the usual words for yes and no."""
    text = os.environ.get(name, "").strip().lower()
    if not text:
        return default
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1, true, yes, on, 0, false, no or off, but it is {text!r}.")


def env_int(name: str, default: int, *, least: int = 0) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise ImproperlyConfigured(f"{name} must be a whole number of at least {least}, but it is {text!r}.")
    return int(text)


def available_cores() -> int:
    """Cores this process may run on, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def env_list(name: str, default: list[str]) -> list[str]:
    text = os.environ.get(name, "").strip()
    return [part.strip() for part in text.split(",") if part.strip()] if text else default


def env_outbound(name: str) -> OutboundRule:
    text = os.environ.get(name, "").strip()
    try:
        return OutboundRule.parse(text)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{name} must be off, or a comma-separated list of public, host, host:port and networks such as "
            f"10.0.0.0/8, but it is {text!r}: {error}"
        ) from error


WINNOW_HOME = Path(os.environ.get("WINNOW_HOME") or BASE_DIR / "var").expanduser().resolve()
try:
    WINNOW_HOME.mkdir(parents=True, exist_ok=True)
except OSError as error:
    raise ImproperlyConfigured(
        f"WINNOW_HOME must be a folder that can be made and written, but {WINNOW_HOME} cannot: {error.strerror}."
    ) from error
MEDIA_ROOT = WINNOW_HOME / "media"
THUMBNAILS_ROOT = MEDIA_ROOT / "thumbnails"
MODELS_ROOT = WINNOW_HOME / "models"
EMBEDDINGS_ROOT = WINNOW_HOME / "embeddings"
EXPORTS_ROOT = WINNOW_HOME / "exports"
UPLOADS_ROOT = WINNOW_HOME / "uploads"
LOCKS_ROOT = WINNOW_HOME / "locks"


def _secret_key() -> str:
    """SECRET_KEY from the environment, else one made once for this home and readable by its owner only."""
    from_environment = os.environ.get("SECRET_KEY", "")
    if from_environment:
        return from_environment
    path = WINNOW_HOME / "secret_key"
    if not path.exists():
        # Written whole and then linked, so that of two first starts one key wins and nobody reads half of one.
        with tempfile.NamedTemporaryFile("w", dir=WINNOW_HOME, prefix=".secret_key.") as made:
            made.write(secrets.token_urlsafe(64))
            made.flush()
            with contextlib.suppress(FileExistsError):
                os.link(made.name, path)
    return path.read_text().strip()


SECRET_KEY = _secret_key()
DEBUG = env_bool("DEBUG", False)
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]", socket.gethostname()])
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS", [])

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_tasks",
    "django_tasks_db",
    "csp",
    "ninja",
    "labeling",
    "reviewer",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "reviewer.api.middleware.ApiAnswers",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "reviewer.middleware.PrivateByDefault",
]

ROOT_URLCONF = "reviewer.urls"
WSGI_APPLICATION = "reviewer.wsgi.application"
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
                "reviewer.context.comfort",
            ],
        },
    },
]


def _database() -> dj_database_url.DBConfig:
    """What DATABASE_URL names, else SQLite in this home.

    WAL with immediate transactions is what keeps "database is locked" away when many people write at once (measured;
    CONTRIBUTING, decisions).
    """
    url = os.environ.get("DATABASE_URL", "").strip()
    config: dj_database_url.DBConfig = {
        "ENGINE": "django.db.backends.sqlite3",
        # Not by way of a URL: a home may have any name.
        "NAME": str(WINNOW_HOME / "winnow.sqlite3"),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
    }
    if url:
        try:
            config = dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True)
        except (ValueError, KeyError) as error:
            raise ImproperlyConfigured(
                "DATABASE_URL must be like postgresql://user:password@host/name or sqlite:////path/to/file, "
                f"but it is of the kind {url.partition(':')[0]!r}."
            ) from error
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["OPTIONS"] = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
                "PRAGMA cache_size=-32000; PRAGMA temp_store=MEMORY;"
            ),
        }
    return config


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default"]}}

AUTH_USER_MODEL = "labeling.Person"
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "datasets"
LOGOUT_REDIRECT_URL = "sign_in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_RESET_TIMEOUT = 60 * 60 * 24  # a sign-in link lives for a day
SESSION_COOKIE_AGE = 60 * 60 * 24 * 14
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
HTTPS = env_bool("HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 60 * 60 * 24 * 30
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

LANGUAGE_CODE = "en"
TIME_ZONE = os.environ.get("TZ", "").strip() or "UTC"
if TIME_ZONE not in available_timezones():
    raise ImproperlyConfigured(f"TZ must be a time zone such as UTC or Europe/Zurich, but it is {TIME_ZONE!r}.")
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"
STATIC_ROOT = WINNOW_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "reviewer.static_files.ModuleStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = DEBUG

# How long a reviewer holds an image before it goes back to the queue.
CLAIM_LEASE_SECONDS = env_int("CLAIM_LEASE_SECONDS", 600, least=5)
# How long our copies of an escalated image are kept, unless it is under legal hold.
ESCALATION_RETENTION_DAYS = env_int("ESCALATION_RETENTION_DAYS", 365, least=1)
# An image with more pixels than this is refused before it is decoded.
MAX_IMAGE_PIXELS = env_int("MAX_IMAGE_PIXELS", 100_000_000, least=1)

# The web server's processes and their threads. Threads that wait for the model are cheap, and there are more of them
# than requests may wait (API_WAITING): pages are served however busy the API is.
WEB_PROCESSES = env_int("WEB_PROCESSES", 2, least=1)
WEB_THREADS = env_int("WEB_THREADS", 32, least=4)
# Requests that may wait for the model in each process; further ones are answered 503. Empty: what leaves pages room.
API_WAITING = env_int("API_WAITING", WEB_THREADS * 3 // 4)
API_INTERPRETERS = max(1, available_cores() // WEB_PROCESSES)
API_MODEL = os.environ.get("API_MODEL", "").strip() or "nsfwjs-mobilenet-v2"
API_ANONYMOUS = env_bool("API_ANONYMOUS", False)
API_MAX_BODY_MB = env_int("API_MAX_BODY_MB", 32, least=1)
# As many as `POST /batch` takes at once.
DATA_UPLOAD_MAX_NUMBER_FILES = 256
API_FETCH = env_outbound("API_FETCH")
API_WEBHOOKS = env_outbound("API_WEBHOOKS")

LOG_LEVEL = os.environ.get("LOG_LEVEL", "").strip().upper() or "INFO"
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    raise ImproperlyConfigured(f"LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL, but it is {LOG_LEVEL!r}.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
}

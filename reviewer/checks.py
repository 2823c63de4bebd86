"""Start-up checks: what would otherwise fail later and say less."""

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Caution

_OLDEST_SQLITE = (3, 31, 0)


@register("winnow")
def check_home(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    home = settings.WINNOW_HOME
    if home.is_dir() and os.access(home, os.W_OK | os.X_OK):
        return []
    return [
        Error(
            f"WINNOW_HOME must be a folder that this process can write, but {home} is not.",
            hint="Give it to the user that runs Winnow, or set WINNOW_HOME to another folder.",
            id="winnow.E001",
        )
    ]


@register("winnow")
def check_sqlite(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    uses_sqlite = settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
    if not uses_sqlite or sqlite3.sqlite_version_info >= _OLDEST_SQLITE:
        return []
    return [
        Error(
            f"Winnow needs SQLite 3.31 or newer, but this Python brings {sqlite3.sqlite_version}.",
            hint="Use a newer Python, or set DATABASE_URL to a PostgreSQL database.",
            id="winnow.E002",
        )
    ]


@register("winnow", deploy=True)
def check_static_files(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.DEBUG or settings.WHITENOISE_USE_FINDERS:
        return []
    if (settings.STATIC_ROOT / "staticfiles.json").is_file():
        return []
    return [
        Caution(
            f"The style sheets and scripts are not collected in {settings.STATIC_ROOT}, so pages cannot be shown.",
            hint="Run `manage.py collectstatic --noinput` (`make run` does), or set DEBUG=1 while developing.",
            id="winnow.W001",
        )
    ]

#!/usr/bin/env python
"""Winnow's command line; `manage.py help` lists the commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviewer.settings")
    try:
        from django.conf import settings
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            f"Winnow's libraries are not installed for {sys.executable} ({error}).\n"
            "Run `make setup`, then use .venv/bin/python manage.py …"
        ) from error
    try:
        settings.INSTALLED_APPS  # noqa: B018  (reads the settings, which refuse what cannot be)
    except (ImproperlyConfigured, OSError) as error:
        sys.stderr.write(f"Winnow cannot start: {error}\n")
        raise SystemExit(2) from None
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()

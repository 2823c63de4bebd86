"""Settings of the test suite: the real ones, in a home of its own that is thrown away."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "WINNOW_TEST_HOME" not in os.environ:
    # xdist workers inherit the variable of the controller; each then takes a sub-folder of its own.
    os.environ["WINNOW_TEST_HOME"] = tempfile.mkdtemp(prefix="winnow-tests-")
    atexit.register(shutil.rmtree, os.environ["WINNOW_TEST_HOME"], ignore_errors=True)
_home = Path(os.environ["WINNOW_TEST_HOME"]) / os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["WINNOW_HOME"] = str(_home)
os.environ.setdefault("LOG_LEVEL", "WARNING")

from reviewer.settings import *  # noqa: F403
from reviewer.settings import BASE_DIR, STORAGES

STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CHECKOUT = BASE_DIR
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, as in real life: threads that race for a claim need connections of their own.
    DATABASES["default"]["TEST"] = {"NAME": str(WINNOW_HOME / "test.sqlite3")}
else:
    # Who waits for a lock that a forgotten thread holds is told so, and does not wait for ever.
    DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c lock_timeout=60s"
TASKS = {"default": {"BACKEND": "django_tasks.backends.dummy.DummyBackend", "QUEUES": ["default"]}}

"""Build `.venv` from the two locks, once; a second call only compares a fingerprint.

Runs on the system's Python with nothing but the standard library, and keeps to syntax that an old
Python 3 can parse, so that an old Python gets a sentence instead of a traceback. Used by `make setup`.

The stamp inside `.venv` holds a hash of the locks, of the Python and of the folder, and is written last.
While a setup works, a mark lies beside `.venv`; a setup that was killed leaves it, and the next call
builds `.venv` anew.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

OLDEST_PYTHON = (3, 11)
NEWEST_TENSORFLOW_PYTHON = (3, 13)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
LOCKS = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt")
STAMP = VENV / ".winnow-setup"
UNFINISHED = ROOT / ".venv.unfinished"
LOCK_FILE = ROOT / ".venv.lock"


def say(sentence: str) -> None:
    """Print one line to stderr, so that the output of `make run` stays its own."""
    print("setup: " + sentence, file=sys.stderr, flush=True)


def python_is_fully_supported() -> bool:
    """Say whether every locked package, TensorFlow included, has a build for this Python."""
    return OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_TENSORFLOW_PYTHON


def better_python() -> str:
    """Return the path of another Python on PATH that is fully supported, or an empty string."""
    for minor in range(NEWEST_TENSORFLOW_PYTHON[1], OLDEST_PYTHON[1] - 1, -1):
        candidate = shutil.which("python3.{}".format(minor))
        # A version manager's shim may be on PATH without the Python behind it; a Debian Python may lack venv.
        if candidate and subprocess.call([candidate, "-c", "import ensurepip"], stderr=subprocess.DEVNULL) == 0:
            return candidate
    return ""


def fingerprint() -> str:
    """Return a hash that changes whenever `.venv` has to be brought up to date."""
    digest = hashlib.sha256()
    for part in (sys.version, sys.platform, str(ROOT)):
        digest.update(part.encode())
    for lock in LOCKS:
        digest.update(lock.read_bytes())
    return digest.hexdigest()


def is_up_to_date(wanted: str) -> bool:
    """Say whether `.venv` was finished with the fingerprint `wanted`."""
    return VENV_PYTHON.exists() and not UNFINISHED.exists() and STAMP.exists() and STAMP.read_text().strip() == wanted


def venv_works() -> bool:
    """Say whether `.venv` is whole, in its place, of this Python version, and able to install packages."""
    if UNFINISHED.exists() or not VENV_PYTHON.exists():
        return False
    probe = "import sys, pip; print(sys.version)"
    try:
        found = subprocess.run([str(VENV_PYTHON), "-c", probe], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return found.returncode == 0 and found.stdout.decode().strip() == sys.version.strip()


def install() -> None:
    """Bring `.venv` to the state of the locks; raise `CalledProcessError` when a step refuses."""
    reusable = venv_works()
    UNFINISHED.touch()
    if STAMP.exists():
        STAMP.unlink()
    if not reusable:
        say("creating .venv with Python {}.{}.{}".format(*sys.version_info[:3]))
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    command = [str(VENV_PYTHON), "-m", "pip", "install", "--require-hashes", "--only-binary=:all:"]
    # Plain Python of mlcroissant's that was never published as a wheel.
    command += ["--no-binary=jsonpath-rw"]
    command += ["--disable-pip-version-check", "--no-input", "-qq"]
    for lock in LOCKS:
        command += ["--requirement", str(lock)]
    say("installing the locked packages (a minute or two, once)")
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def only_one_setup() -> IO[str]:
    """Return a context that holds an exclusive lock: two `make` calls must not install into one folder."""
    held = open(str(LOCK_FILE), "w")  # noqa: SIM115 -- the caller closes it, which frees the lock
    try:
        import fcntl
    except ImportError:
        return held
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def main() -> int:
    """Set up and return the exit code: 0 done, 1 an installation step refused, 2 no fitting Python."""
    if not python_is_fully_supported():
        better = better_python()
        if better:
            return subprocess.call([better, __file__])
    running = "{}.{} ({})".format(sys.version_info[0], sys.version_info[1], sys.executable)
    if sys.version_info[:2] < OLDEST_PYTHON:
        say(
            "expected Python 3.11 or newer, got {}. Install a newer one and name it: "
            "make setup PYTHON=/path/to/python3.12".format(running)
        )
        return 2
    wanted = fingerprint()
    if is_up_to_date(wanted):
        return 0
    if not python_is_fully_supported():
        say(
            "TensorFlow has no build for Python {}: Winnow will score and serve compiled models, "
            "but not convert or train any. For all of it: make setup PYTHON=/path/to/python3.13".format(running)
        )
    if shutil.which("npm") is None:
        say(
            "npm was not found. The starter model comes through npm: install Node.js (it brings npm), "
            "or register a model file of your own. Setup goes on without it."
        )
    try:
        with only_one_setup():
            # Somebody else may have finished the same work while this call waited.
            if not is_up_to_date(wanted):
                install()
                UNFINISHED.unlink()
                STAMP.write_text(wanted + "\n")
                say("done")
    except subprocess.CalledProcessError as error:
        # pip takes back what it did when it refuses; only a kill leaves something half installed.
        if UNFINISHED.exists():
            UNFINISHED.unlink()
        say("stopped by the step above, exit code {}; `make setup` tries again".format(error.returncode))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Bring a package file by npm, and read members of it, without running anything of it."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from inference.errors import FetchFailed, HashMismatch, MissingTool, ModelRefused

DOWNLOAD_SECONDS = 600
MAX_MEMBER_BYTES = 256 << 20


def check_integrity(data: bytes, integrity: str, *, what: str) -> None:
    """Compare bytes with an npm integrity string, `sha512-<base64 of the digest>`.

    Raises:
        HashMismatch: they differ, or the string is of another kind.
    """
    algorithm, _, expected = integrity.partition("-")
    if algorithm != "sha512" or not expected:
        raise HashMismatch(f"expected an integrity of the form sha512-…, received {integrity!r}")
    received = base64.b64encode(hashlib.sha512(data).digest()).decode("ascii")
    if received != expected:
        raise HashMismatch(
            f"expected {what} with integrity sha512-{expected}, received sha512-{received} ({len(data):,} bytes): "
            "it is damaged or was replaced, so nothing of it is used; try again, or look into where npm downloads from"
        )


def pack(package: str, version: str, integrity: str, *, cache: Path | None = None) -> bytes:
    """The package file (`.tgz`) of one version, from the cache or by `npm pack`, with its integrity checked.

    Args:
        package, version: exact, such as `nsfwjs`, `4.4.0`.
        integrity: `sha512-…`.
        cache: a folder that may hold the file from an earlier call, and keeps it for the next one. A file in it
            that fails the check is replaced.

    Raises:
        MissingTool: npm is not installed (and the cache does not hold the package).
        FetchFailed: npm could not bring it.
        HashMismatch: what npm brought is not what was promised.
    """
    spec = f"{package}@{version}"
    kept = kept_path(package, version, cache) if cache is not None else None
    if kept is not None and kept.is_file():
        data = kept.read_bytes()
        try:
            check_integrity(data, integrity, what=spec)
        except HashMismatch:
            kept.unlink()
        else:
            return data
    data = _download(spec)
    check_integrity(data, integrity, what=spec)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary = kept.with_name(f".{kept.name}.{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(kept)
    return data


def kept_path(package: str, version: str, cache: Path) -> Path:
    """Where `pack` keeps that package file in a cache."""
    return cache / f"{package.replace('/', '-').lstrip('@')}-{version}.tgz"


def read_member(package: bytes, name: str) -> bytes:
    """One file inside a package, read in memory: nothing is unpacked, so no path in it can lead astray.

    Raises:
        ModelRefused: no such regular file, or it is unreasonably large.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
            member = archive.getmember(name)
            if not member.isreg() or member.size > MAX_MEMBER_BYTES:
                raise ModelRefused(f"expected a file of at most {MAX_MEMBER_BYTES:,} bytes at {name} in the package")
            file = archive.extractfile(member)
            return file.read() if file is not None else b""
    except KeyError:
        raise ModelRefused(f"expected {name} in the package, there is none") from None
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ModelRefused(f"expected a gzipped tar file as package: {error}") from error


def _download(spec: str) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise MissingTool(
            f"expected the program npm to fetch {spec}, found none on PATH: install Node.js with npm "
            "(Debian: apt install npm) and run this again"
        )
    with tempfile.TemporaryDirectory(prefix="winnow-npm-") as folder:
        command = [npm, "pack", spec, "--ignore-scripts", "--silent"]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DOWNLOAD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FetchFailed(f"npm pack {spec} did not end within {DOWNLOAD_SECONDS} s: try again") from None
        except OSError as error:
            raise MissingTool(f"npm at {npm} cannot be started: {error.strerror}") from error
        found = sorted(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(found) != 1:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            detail = " | ".join(said[-4:]) or "nothing"
            raise FetchFailed(
                f"npm pack {spec} ended with {done.returncode} and {len(found)} package files; it said: {detail}; "
                "check the network and npm's registry setting, then run this again"
            )
        return found[0].read_bytes()

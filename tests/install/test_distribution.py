"""What is built: both archives hold what they should, with the licences, and are built without a package index."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from server.app import VERSION
from tests.install.checkout import NO_INDEX, ROOT, copied

BUILD = "import sys, setuptools.build_meta as build; print(getattr(build, sys.argv[1])(sys.argv[2]))"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def built(kind: str, folder: Path, to: Path) -> Path:
    to.mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(to)]
    subprocess.run(command, cwd=folder, env=os.environ | NO_INDEX, check=True, capture_output=True)
    (archive,) = to.iterdir()
    return archive


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("sdist", checkout, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from the unpacked sdist, as an installer does it."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return zipfile.ZipFile(built("wheel", source, tmp_path_factory.mktemp("wheel")))


def test_the_wheel_holds_every_module_and_file_that_serving_reads(checkout: Path, wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    library = {name for name in names if name.endswith(".so")}
    assert len(library) == 1, "our kernels were not compiled"
    sources = {
        path.relative_to(checkout).as_posix()
        for package in ("server", "engines", "models")
        for path in (checkout / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    built_from = {
        name for name in sources if name.startswith("engines/runtime/") and name.endswith((".c", ".h", ".cc", ".cpp"))
    }
    assert names - library == {name for name in sources - built_from if "egg-info" not in name}


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    (name,) = (one for one in wheel.namelist() if one.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    assert (metadata["Name"], metadata["Version"]) == ("parlando", VERSION)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert sorted(metadata.get_all("License-File", [])) == ["LICENSE", "NOTICE"]
    assert metadata["License"] is None
    for file in ("LICENSE", "NOTICE"):
        assert wheel.read(name.replace("METADATA", f"licenses/{file}")) == (ROOT / file).read_bytes()
    extras = {"bench", "dev", "eval", "export", "pocket", "qwen3-tts", "train"}
    assert set(metadata.get_all("Provides-Extra", [])) == extras
    assert not [
        one
        for one in metadata.get_all("Requires-Dist", [])
        if one.startswith(("torch", "onnxruntime-gpu")) and "extra" not in one
    ]


def test_the_sdist_can_be_built_from(checkout: Path, sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"LICENSE", "NOTICE", "README.md", "pyproject.toml", "requirements/cuda.txt"}
    wanted |= {
        f"engines/{path.relative_to(checkout / 'engines').as_posix()}"
        for path in (checkout / "engines").rglob("*.[ch]")
    }
    assert wanted <= names


def test_the_makefile_installs_what_builds() -> None:
    """So that nothing is built in an environment that the index must fill."""
    (wanted,) = PROJECT["build-system"]["requires"]
    makefile = (ROOT / "Makefile").read_text()
    assert f'SETUPTOOLS := "{wanted}"\n' in makefile
    installs = [line for line in makefile.splitlines() if re.search(r'pip install .* (\.|-e ".*")$', line)]
    assert installs
    assert all("$(BUILD_FLAGS)" in line for line in installs)

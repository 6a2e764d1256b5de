"""Takes each guard of `mutations.py` away in a copy of the sources and runs its test there, which must fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dry_cuda.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
_LINKED = shutil.ignore_patterns("bundles", "data", "*.so", "__pycache__")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, what is large linked."""
    root = tmp_path_factory.mktemp("sources")
    for name in ("engines", "models", "tests/dry_cuda", "tests/gpu_graphs", "tests/plans"):
        shutil.copytree(ROOT / name, root / name, ignore=_LINKED)
    for name in ("engines/bundles", "engines/text/data"):
        (root / name).symlink_to(ROOT / name)
    for name in ("tests/__init__.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    return root


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.trap)
def test_a_guard_that_is_taken_away_is_missed(pretended: None, copy: Path, mutation: Mutation) -> None:
    path = copy / mutation.file
    whole = path.read_text()
    assert whole.count(mutation.guard) == 1, "the guard is written otherwise now: mend mutations.py"
    changed = whole.replace(mutation.guard, mutation.without)
    compile(changed, path.name, "exec")  # a file that is no Python would fail every test
    path.write_text(changed)
    try:
        done = _run(copy, mutation.test, timeout_s=10 if mutation.hangs else 600)
        assert done.returncode == 1 or done.returncode < 0, "its test passes, or does not run, without it"
    except subprocess.TimeoutExpired:
        assert mutation.hangs, "its test does not end without it"
    finally:
        path.write_text(whole)


@pytest.mark.timeout(900)
def test_the_tests_pass_in_an_unchanged_copy(pretended: None, copy: Path) -> None:
    done = _run(copy, *sorted({one.test for one in MUTATIONS}), timeout_s=800)
    assert done.returncode == 0, done.stdout[-3000:]


def _run(root: Path, *tests: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """pytest's status is 1 where tests failed, negative where it crashed. Only this limit counts, not one a test."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "--timeout", "0"]
    paths = (f"tests/{test}" if "/" in test.partition("::")[0] else f"tests/dry_cuda/{test}" for test in tests)
    command = [sys.executable, "-m", "pytest", *options, *paths]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(root)}
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )

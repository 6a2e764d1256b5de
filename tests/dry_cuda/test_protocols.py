"""Every protocol speaks what `parlando.v1` speaks, whole and word by word, on the emulated device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from tests.dry_cuda.conftest import IS_DRY
from tests.dry_cuda.spoken import FAMILIES, Spoken
from tests.edge.test_doors import SPEECHES, Speech, native
from tests.families.served import OWN, TEXT, FamilyServer


@pytest.fixture(
    scope="module", params=[one for one in FAMILIES if one.family != "phone_pointer"], ids=lambda one: one.name
)
def server(request: pytest.FixtureRequest) -> Iterator[FamilyServer]:
    if not IS_DRY:
        pytest.skip("the pretended CUDA libraries are not loaded here; `make test-gpu-dry` runs this")
    spoken: Spoken = request.param
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(Path(__file__).with_name("emulated")))
        with FamilyServer(spoken.bundle, device="cuda", gpu_form=str(spoken.form)) as running:
            yield running


@pytest.mark.parametrize("speech", [*SPEECHES, *OWN])
def test_words_and_the_whole_text_are_the_same_audio(server: Any, speech: Speech) -> None:
    assert any('"device": "cuda:0"' in line for line in server.lines)
    wanted = native(server, TEXT).pcm
    assert len(wanted) > 48_000
    words = [word + " " for word in TEXT.split(" ")]
    words[-1] = words[-1].rstrip()
    assert speech(server, [TEXT]) == wanted, "whole"
    assert speech(server, words) == wanted, "word by word"

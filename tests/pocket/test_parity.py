"""The exported graphs beside pocket-tts' own modules, with the same random weights at full size."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints.pocket import files, releases
from models.checkpoints.pocket.random_checkpoint import write_random
from models.exporting.pocket.decoder import decoder_graph
from models.exporting.pocket.speech_lm import prefill_graph, step_graph
from tests.pocket.graphs import POSITIONS, Decoder, SpeechModel

torch = pytest.importorskip("torch", reason="torch is not installed (make test brings it)")
pytest.importorskip("pocket_tts", reason="pocket-tts is not installed (make test brings it)")

SIZES = [
    "english_2m_2026-10",
    "english_7m_refl_2026-10",
    pytest.param("english_18m_2026-10", marks=pytest.mark.slow),
    pytest.param("english", marks=pytest.mark.slow),  # 100M, gigabytes of memory
]
STEPS, FRAMES = 6, 12


@pytest.fixture(scope="module", params=SIZES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, files.Checkpoint]:
    from tests.pocket.reference import build

    folder = tmp_path_factory.mktemp("parity")
    config = releases.release(request.param)
    write_random(folder, config, seed=3)
    return build(config, folder), files.read(str(folder), ["alba"])


def relative(found: Any, wanted: Any) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def test_prefill_step_flow_head_and_end(both: tuple[Any, files.Checkpoint]) -> None:
    theirs, ours = both
    rng = np.random.default_rng(1)
    ids = rng.integers(4000, size=20).tolist()
    noises = rng.standard_normal((STEPS, 1, 32), np.float32)
    expected, ends = _their_frames(theirs.flow_lm, ids, noises)
    graphs = [make(ours.config, ours.weights, POSITIONS, half=False) for make in (prefill_graph, step_graph)]
    model = SpeechModel(ours.config, *graphs)
    for block in (ids[:9], ids[9:]):
        model.read(block)
    latent = ours.weights["flow_lm.bos_emb"][None]
    for step in range(STEPS):
        latent, end = model.make(latent, noises[step])
        assert relative(latent, expected[step]) < 2e-4, step
        assert abs(float(end[0]) - ends[step]) < 2e-4 * (1 + abs(ends[step])), step


@torch.no_grad()
def _their_frames(lm: Any, ids: list[int], noises: Any) -> tuple[list[Any], list[float]]:
    from pocket_tts.models import flow_lm
    from pocket_tts.modules.stateful_module import increment_steps, init_states

    state = init_states(lm, 1, POSITIONS)
    lm.transformer(lm.conditioner(torch.tensor([ids])), state)
    increment_steps(lm, state, len(ids))
    decode = getattr(flow_lm, f"{lm.flow_type}_decode")
    latent, frames, ends = lm.bos_emb[None, None], [], []
    for noise in noises:
        out = lm.backbone(lm.input_linear(latent), torch.zeros(1, 0, lm.dim), latent, model_state=state)[:, -1]
        increment_steps(lm, state, 1)
        ends.append(float(lm.out_eos(out)))
        frames.append(decode(partial(lm.flow_net, out), torch.from_numpy(noise), 1))
        latent = frames[-1][:, None]
    return [frame.numpy() for frame in frames], ends


@torch.no_grad()
def test_decoder_whole_and_streamed(both: tuple[Any, files.Checkpoint]) -> None:
    from pocket_tts.modules.stateful_module import init_states

    theirs, ours = both
    latents = np.random.default_rng(2).standard_normal((1, FRAMES, 32), np.float32)
    state = init_states(theirs.mimi, 1, FRAMES * ours.config.mimi.upsampling)
    spread = torch.from_numpy(latents) * theirs.flow_lm.emb_std + theirs.flow_lm.emb_mean
    expected = theirs.mimi.decode_from_latent(spread, state)[0].numpy()
    decoder = Decoder(decoder_graph(ours.config, ours.weights, half=False), ours.config.mimi.upsampling)
    for chunks in ([FRAMES], [1] * FRAMES, [1, 2, 4, 5]):
        assert relative(decoder.run(latents, chunks), expected) < 1e-4, chunks


def test_voice_state_is_what_the_package_continues_from(both: tuple[Any, files.Checkpoint], tmp_path: Path) -> None:
    """A step behind the same voice: keys were turned from neighbours to halves."""
    from pocket_tts.models.model_state import export_model_state
    from pocket_tts.modules.stateful_module import increment_steps, init_states

    from models.checkpoints.pocket.voices import read_voice
    from models.exporting.pocket.export import prefix_of

    theirs, ours = both
    lm, ids = theirs.flow_lm, [5, 6, 7, 8, 9, 10, 11, 12, 13]
    with torch.no_grad():
        state = init_states(lm, 1, len(ids))
        lm.transformer(lm.conditioner(torch.tensor([ids])), state)
        increment_steps(lm, state, len(ids))
    export_model_state(state, tmp_path / "mine.safetensors")
    voice = read_voice(tmp_path / "mine.safetensors", ours.config, "mine", "CC0-1.0", "a test")
    graphs = [make(ours.config, ours.weights, POSITIONS, half=False) for make in (prefill_graph, step_graph)]
    model = SpeechModel(ours.config, *graphs)
    model.read(ids)
    keys, values = prefix_of(voice)
    for layer in range(ours.config.flow_lm.transformer.num_layers):
        held = {kind: model.cache[f"past_{kind}{layer}"][0, :, : len(ids)] for kind in "kv"}
        assert relative(keys[layer], held["k"]) < 2e-4
        assert relative(values[layer], held["v"]) < 2e-4

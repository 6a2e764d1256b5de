"""The whole way from the teacher's speech to a bundle, small: train, kill, resume, export, speak."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.families.phone_pointer.bundle import load_bundle
from engines.runtime.ort import ort
from engines.synth import speak
from models.code_files import Coded, read_codes, write_codes
from models.codec import Codec
from models.encode import load_codec
from models.encoder_hash import encoder_sha256
from models.export_drafts import export_drafts
from models.finish import finish, load_forecast
from models.lm_data import collate, example, pause_features
from models.own_samples import draw
from models.parity import ParityError, check
from models.quantise_bundle import quantise_bundle
from models.teacher.prepare import load

FIXTURE = Path(__file__).parent / "fixture"


def train(module: str, out: Path, seconds: float, *arguments: str) -> list[str]:
    command = [sys.executable, "-m", module, "--out", str(out), "--cpu-minutes", str(seconds / 60), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_voice_from_fixture(tmp_path: Path) -> None:
    names = ("codec.pt", "codes.pkl", "vocoder.pt", "lm.pt", "durations.pt", "bundle")
    codec, codes, vocoder, lm, durations, bundle = (tmp_path / name for name in names)
    train("models.train_codec", codec, 4, "--data", str(FIXTURE))
    subprocess.run(
        [sys.executable, "-m", "models.encode", "--data", str(FIXTURE), "--codec", str(codec), "--out", str(codes)],
        check=True,
        capture_output=True,
    )
    coded = ["--data", str(FIXTURE), "--codes", str(codes), "--codec", str(codec)]
    train("models.train_vocoder", vocoder, 4, *coded, "--batch", "2")
    train("models.train_lm", lm, 4, "--codes", str(codes), "--tokens", "400")
    # Four seconds of training leave F0 at the edge of its range, where last-bit differences grow along the phase.
    train("models.train_durations", durations, 2, "--codes", str(codes))
    finish(vocoder, lm, durations, ["rms", "slt"], bundle, tolerance=1e-2)
    exact = load_bundle(bundle)
    made_by = json.loads((bundle / "manifest.json").read_text())["provenance"]
    assert made_by["codec_steps"] == torch.load(codec, weights_only=False)["step"]
    assert made_by["decoder_steps"] == torch.load(vocoder, weights_only=False)["decoder_steps"] > 0
    assert made_by["encoder_sha256"] == encoder_sha256(load_codec(codec)) == encoder_sha256(load_codec(vocoder))
    before = {name: (bundle / name).stat().st_size for name in ("lm.onnx", "vocoder.onnx")}
    quantise_bundle(bundle, read_codes(codes).examples)
    assert all((bundle / name).stat().st_size < 0.8 * size for name, size in before.items())
    samples, forecast = tmp_path / "own.pkl", tmp_path / "forecast.pt"
    coded = read_codes(codes)
    drawn = Coded(encoder_sha256=coded.encoder_sha256, examples=draw(exact, coded.examples, 1500))
    write_codes(samples, drawn)
    train("models.train_forecast", forecast, 3, "--lm", str(lm), "--samples", str(samples), "--tokens", "400")
    weighted = load_forecast(forecast).weighted(2.0)
    network = finish(vocoder, lm, durations, ["rms", "slt"], bundle, tolerance=1e-2, forecast=weighted)
    quantise_bundle(bundle, read_codes(codes).examples)
    export_drafts(bundle, network)
    finished = load_bundle(bundle)
    now = json.loads((bundle / "manifest.json").read_text())["provenance"]
    assert now == made_by | {"int8": ["lm", "vocoder"]}, "later stages keep what is known"
    assert exact.drafts is None
    assert finished.drafts is not None
    spoken = {}
    for mode in (DraftMode.OFF, DraftMode.ON):
        engine = load_engine(finished, EngineConfig(slots=1, workers=False, drafts=mode))
        spoken[mode] = [speak(engine, "Hello there.", voice=voice).pcm for voice in ("rms", "slt")]
        assert (engine.stats().counters["drafts_proposed"] > 0) is (mode is DraftMode.ON)
        engine.close()
    assert all(spoken[DraftMode.ON])
    assert spoken[DraftMode.ON] == spoken[DraftMode.OFF]


def test_int8_is_near_and_independent_of_neighbours() -> None:
    from onnx import TensorProto, helper

    from models.graph import Graph
    from models.quantise import quantised, scales

    rng = np.random.default_rng(3)
    weight = rng.standard_normal((192, 256)).astype(np.float32)
    graph = Graph()
    graph.input("x", TensorProto.FLOAT, ["B", 192])
    graph.node("MatMul", ["x", graph.weight("w", weight)], "y")
    graph.output("y", TensorProto.FLOAT, ["B", 256])
    body = helper.make_graph(graph.nodes, "one", graph.inputs, graph.outputs, initializer=graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    x = rng.standard_normal((64, 192)).astype(np.float32)
    small = quantised(model, scales(model, [{"x": x}]))
    session = ort.InferenceSession(small.SerializeToString())
    exact = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    found = session.run(None, {"x": x})[0]
    assert 1e-4 < np.abs(found - exact).mean() / np.abs(exact).mean() < 0.03
    for row in range(64):
        assert np.array_equal(session.run(None, {"x": x[row : row + 1]})[0][0], found[row])


def test_a_killed_training_resumes(tmp_path: Path) -> None:
    out = tmp_path / "codec.pt"
    train("models.train_codec", out, 3, "--data", str(FIXTURE))
    before = torch.load(out, weights_only=False)
    lines = train("models.train_codec", out, 6, "--data", str(FIXTURE), "--resume")
    after = torch.load(out, weights_only=False)
    assert after["step"] > before["step"]
    assert after["spent_s"] >= 6
    assert int(lines[-1].split()[1]) == after["step"]


def test_a_killed_training_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "codec.pt"
    train("models.train_codec", out, 1, "--data", str(FIXTURE))
    command = [sys.executable, "-m", "models.train_codec", "--data", str(FIXTURE), "--out", str(out)]
    victim = subprocess.Popen([*command, "--cpu-minutes", "60", "--resume"], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    victim.stdout.readline()  # the first report, just before it saves
    victim.kill()
    victim.communicate()
    assert torch.load(out, weights_only=False)["step"] > 0


def test_parity_refuses_another_network(tmp_path: Path) -> None:
    from models.durations import DurationConfig, DurationNet
    from models.export import round_to_half, write_bundle
    from models.finish import VOICES
    from models.speech_lm import LmConfig, SpeechLm

    torch.manual_seed(0)
    codec = Codec(1)
    network = SpeechLm(LmConfig(voices=1, num_phone_ids=193)).eval()
    durations = DurationNet(DurationConfig(voices=1, num_phone_ids=193)).eval()
    for one in (codec.decoder, network, durations):
        round_to_half(one)
    voices = [{"id": "rms", "name": VOICES["rms"][0], "index": 0, "description": ""}]
    extra = {"name": "x", "version": "0", "defaults": {"temperature": 0.0}}
    extra |= {"licences": [], "provenance": {}, "quality": {}}  # type: ignore[dict-item]
    write_bundle(tmp_path, codec.decoder, network, durations, voices, extra)
    assert max(check(tmp_path, codec.decoder, network, durations).values()) < 1e-4
    with torch.no_grad():
        network.to_code.weight.add_(0.01)
    with pytest.raises(ParityError, match="lm: torch and ONNX differ"):
        check(tmp_path, codec.decoder, network, durations)
    with torch.no_grad():
        network.to_code.weight.sub_(0.01)
        durations.leave.bias.add_(0.5)
    with pytest.raises(ParityError, match="durations: "):
        check(tmp_path, codec.decoder, network, durations)


def test_vocoder_streams_in_torch_too() -> None:
    from models.export_vocoder import vocoder_inputs
    from models.framing import LOOK_BACK

    torch.manual_seed(0)
    decoder = Codec(1).decoder.eval()
    inputs = vocoder_inputs(decoder, 1, 12)
    inputs["codes"] = torch.randint(0, 4096, (1, 12))
    inputs["noise"] = torch.randn_like(inputs["noise"])
    with torch.no_grad():
        whole = decoder(*inputs.values())[0]
        timbre = inputs["voices"], inputs["pitch"]
        state = [inputs[name] for name in ("coarse", "fine", "phase", "tail")]
        parts = []
        for start, size in ((0, 1), (1, 5), (6, 6)):
            noise = inputs["noise"][:, start * 640 : start * 640 + LOOK_BACK + size * 640]
            part, *state = decoder(inputs["codes"][:, start : start + size], *timbre, noise, *state)
            parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-3, rtol=0.0)  # torch keeps values, not bits


def test_training_and_serving_see_the_same() -> None:
    """What the LM is shown in serving is what it was shown in training, for the same phones and pointer."""
    from engines.families.phone_pointer.inputs import StepInputs
    from engines.families.phone_pointer.segmenter import Segment
    from engines.text import PauseType, Phone
    from models.lm_data import pause_types, phone_ids
    from models.speech_lm import feature_rows

    bundle = load_bundle(Path("flite"))
    utterances, _, _ = load(FIXTURE, "rms")
    for one in utterances[:5]:
        codes = np.arange(one.samples // 640)
        trained = example(one, codes, 0)
        rows = feature_rows(collate([trained])[0], bundle.adapter.offsets, bundle.adapter.num_phone_ids)[0].numpy()
        segment = Segment()
        for identity, kind in zip(phone_ids(one), pause_types(one)):
            segment.add(Phone(int(identity), "", None, 0, 0, PauseType(kind) if kind else None))
        segment.closed = True
        segment.ends = trained.ends.tolist()
        inputs, ends = StepInputs(bundle), segment.ends
        for known in range(1, len(ends) + 1):  # phone by phone, as a plan grows
            segment.ends = ends[:known]
            inputs.extend(segment, 0)
        previous = [bundle.codes.begin, *codes.tolist()]
        for step, row in enumerate(segment.rows[: len(codes)]):
            assert [bundle.adapter.offsets["code"] + previous[step], *row] == rows[step].tolist()
        assert len(codes) - len(segment.rows) in (0, 1), "the fixture is padded to whole codes, by less than one"
        at_once = Segment()
        at_once.phones, at_once.ids, at_once.kinds = segment.phones, segment.ids, segment.kinds
        at_once.pauses, at_once.ends, at_once.closed = segment.pauses, ends, True
        inputs.extend(at_once, 0)
        assert np.array_equal(at_once.rows, segment.rows)


def test_planning_sees_in_serving_what_it_saw_in_training() -> None:
    from engines.families.phone_pointer.durations import Planner
    from engines.families.phone_pointer.segmenter import Segment
    from engines.text import PauseType, Phone
    from models.durations import DurationConfig, TimedPhones, feature_rows
    from models.lm_data import pause_types, phone_ids
    from tests.engine.toys import ToyDurations

    bundle = load_bundle(Path("natural"))  # its window is that of `models.durations`, the Flite voice's is older

    class Watched(ToyDurations):
        def plan(self) -> np.ndarray:
            seen.append(self.features.copy())
            assert np.allclose(self.stretch, np.log(one.stretch))
            return super().plan()

    utterances, _, _ = load(FIXTURE, "rms")
    for one in utterances[:5]:
        seen: list[np.ndarray] = []
        segment, planner = Segment(), Planner(bundle, Watched(bundle))
        for identity, kind in zip(phone_ids(one), pause_types(one)):
            segment.add(Phone(int(identity), "", None, 0, 0, PauseType(kind) if kind else None))
            planner.extend(segment, 1, one.stretch)  # phone by phone, as text may come
        segment.closed = True
        planner.extend(segment, 1, one.stretch)
        assert len(segment.ends) == len(segment.phones)
        config = DurationConfig(voices=2, num_phone_ids=bundle.durations.num_phone_ids)
        trained = feature_rows(config, TimedPhones.of([example(one, np.zeros(1, int), 1)])).numpy()
        planned = np.concatenate([calls[: 1 if at < len(seen) - 1 else None] for at, calls in enumerate(seen)])
        assert np.array_equal(planned[: len(trained)], trained)


def test_pause_features_end_at_the_look_ahead() -> None:
    distance, kind = pause_features(np.array([1, *[0] * 11, 2]))
    assert list(distance) == [0, 9, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert list(kind) == [1, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2]

"""Puts trained checkpoints, names, licences and provenance together into a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import torch

from engines.families.phone_pointer.bundle import load_bundle
from models.code_files import refuse_other_encoder
from models.code_parts import is_shared, settle, share
from models.creak import CREAK, with_creak
from models.durations import DurationConfig, DurationNet
from models.encode import load_codec
from models.encoder_hash import encoder_sha256
from models.export import round_to_half, update_manifest, write_bundle
from models.forecast import Forecast, ForecastConfig
from models.parity import TOLERANCE, check
from models.speech_lm import LmConfig, SpeechLm

VOICES = {
    "rms": ("Flite rms", "US English, male; imitates CMU Flite's rms"),
    "slt": ("Flite slt", "US English, female; imitates CMU Flite's slt"),
    "awb": ("Flite awb", "Scottish-accented English, male; imitates CMU Flite's awb"),
    "kal16": ("Flite kal16", "US English, male; imitates CMU Flite's kal16"),
}

KOKORO_CREAK_HZ = {
    "af_heart": 125.0
}  # her speech is at 150 to 250 Hz; at the ends of sentences it breaks up below this


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Whose speech a bundle learned from, as its manifest says it."""

    name: str
    version: str
    voices: dict[str, tuple[str, str]]  # id -> name and description
    licences: list[str]
    teacher: str
    pitches: dict[str, str] = field(default_factory=dict)  # id -> low or high, where it is known
    creak_hz: dict[str, float] | None = None  # id -> F0 below which it creaks (`models.creak`); None without the rule


def imitating_flite(voices: list[str]) -> Origin:
    return Origin(
        name="flite",
        version="5",
        voices={voice: VOICES[voice] for voice in voices},
        licences=["Apache-2.0 (code and weights)", "teacher: CMU Flite licence, see NOTICE"],
        teacher="CMU Flite 2.2, voices " + ", ".join(voices),
    )


def imitating_kokoro(voices: list[str]) -> Origin:
    return Origin(
        name="natural",
        version="2",
        voices={voice: (f"Kokoro {voice}", f"US English; imitates Kokoro-82M's {voice}") for voice in voices},
        licences=["Apache-2.0 (code and weights)", "teacher: Kokoro-82M, Apache-2.0; its ONNX export: MIT; see NOTICE"],
        teacher="Kokoro-82M (hexgrad), voices " + ", ".join(voices),
        pitches={voice: {"f": "high", "m": "low"}[voice[1]] for voice in voices},
        creak_hz={voice: KOKORO_CREAK_HZ.get(voice, 0.0) for voice in voices},
    )


def from_recordings(voices: list[str], data_sha256: str) -> Origin:
    return Origin(
        name="own-voice",
        version="1",
        voices={voice: (voice, "trained on the user's recordings") for voice in voices},
        licences=["Apache-2.0 (code)", "weights and recordings: the user's own"],
        teacher=f"the user's recordings; manifest and sizes of its files: sha256 {data_sha256}",
    )


def load_lm(path: Path) -> tuple[SpeechLm, dict[str, Any]]:
    saved = torch.load(path, weights_only=False)
    weights = saved["network"]
    config = LmConfig(voices=weights["speaker.weight"].shape[0], num_phone_ids=weights["phone.weight"].shape[0])
    network = SpeechLm(config)
    if is_shared(weights):
        share(network)
    network.load_state_dict(weights)
    if is_shared(weights):
        settle(network)
    return network.eval(), saved


def load_forecast(path: Path) -> Forecast:
    weights = torch.load(path, weights_only=False)["network"]
    (first, width), second = weights["first.weight"].shape, weights["second.weight"].shape[0]
    forecast = Forecast(ForecastConfig(width=width, first=first, second=second))
    forecast.load_state_dict(weights)
    return forecast.eval()


def load_durations(path: Path) -> DurationNet:
    weights = torch.load(path, weights_only=False)["network"]
    (voices, width), (phones, phone_width) = weights["speaker.weight"].shape, weights["phone.weight"].shape
    config = DurationConfig(voices=voices, num_phone_ids=phones, width=width, phone_width=phone_width)
    network = DurationNet(config)
    network.load_state_dict(weights)
    return network.eval()


def finish(
    codec_path: Path,
    lm_path: Path,
    durations_path: Path,
    voices: list[str],
    out: Path,
    tolerance: float = TOLERANCE,
    origin: Origin | None = None,
    forecast: Forecast | None = None,
) -> SpeechLm:
    """Exports, then runs the exported graphs beside torch and refuses to leave a bundle that differs.

    Without `origin` the voices are Flite's. `forecast` is weighted already. Returns the LM as it was exported, of which
    `models.export_drafts` makes drafts once the bundle is int8.
    """
    origin = origin or imitating_flite(voices)
    codec, trained = load_codec(codec_path), torch.load(codec_path, weights_only=False)
    network, saved = load_lm(lm_path)
    encoder = encoder_sha256(codec)
    refuse_other_encoder(lm_path, saved.get("encoder_sha256"), encoder, codec_path)
    network.forecast = forecast
    round_to_half(codec.decoder)
    durations = load_durations(durations_path)
    round_to_half(network)
    round_to_half(durations)
    described = [
        {"id": voice, "name": origin.voices[voice][0], "index": index, "description": origin.voices[voice][1]}
        | ({"pitch": origin.pitches[voice]} if voice in origin.pitches else {})
        for index, voice in enumerate(voices)
    ]
    extra = {
        "name": origin.name,
        "version": origin.version,
        "defaults": {"temperature": 0.0},
        "licences": origin.licences,
        "provenance": {
            "teacher": origin.teacher,
            "encoder_sha256": encoder,
            "codec_steps": trained["step"],
            "decoder_steps": trained.get("decoder_steps", 0),  # after the codec's own
            "lm_steps": saved["step"],
            "lm_cpu_s": round(saved["spent_s"]),
        },
        "quality": {},  # `models.judge --into` writes what it measured
    }
    write_bundle(out, codec.decoder, network, durations, described, extra)
    check(out, codec.decoder, network, durations, tolerance)
    if origin.creak_hz is not None:
        _creak(out, [origin.creak_hz[voice] for voice in voices])
    return network


def _creak(folder: Path, creak_hz: Sequence[float]) -> None:
    """Gives the vocoder of a bundle the rule of creak, in place; its manifest says so."""
    path = folder / load_bundle(folder).vocoder.file
    onnx.save(with_creak(onnx.load(path), creak_hz), path)
    update_manifest(folder, provenance={CREAK: [float(hz) for hz in creak_hz]})

"""Writes docs/voice: a page to listen to, with spectrograms: python -m models.judge.listening --help

For each voice one sentence three times: the teacher, the teacher's codes through our vocoder, and our own speech from
text. Samples are Ogg Opus, so that a browser plays them and the repository stays small.
"""

from __future__ import annotations

import argparse
import html
import io
from pathlib import Path
from typing import Any

import av
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.synth import speak
from models.codec import SAMPLES_PER_CODE, Codec
from models.encode import load_codec
from models.framing import HOP, SAMPLE_RATE_HZ
from models.judge import teacher
from models.judge.resynthesis import served

matplotlib.use("Agg")
from matplotlib import pyplot

TEXT = "Good morning! Your train to Oxford leaves at nine fifteen from platform three."
BIT_RATE = 32_000
Samples = NDArray[np.int16]


@torch.no_grad()
def resynthesised(codec: Codec, bundle: Bundle, samples: Samples, speaker: int) -> Samples:
    """The teacher's speech through encoder, codes and the bundle's vocoder."""
    import pyworld

    cut = samples[: len(samples) // SAMPLES_PER_CODE * SAMPLES_PER_CODE]
    wave = cut.astype(np.float64) / 32768
    f0, times = pyworld.dio(wave, SAMPLE_RATE_HZ, f0_floor=60, f0_ceil=380, frame_period=1000 * HOP / SAMPLE_RATE_HZ)
    f0 = pyworld.stonemask(wave, f0, times, SAMPLE_RATE_HZ)[: len(cut) // HOP]
    given = torch.from_numpy(wave).float()[None], torch.from_numpy(f0).float()[None], torch.tensor([speaker])
    _, codes = codec.encode(*given)
    spoken = served(bundle, codes[0].numpy(), speaker)[0].numpy()
    return np.asarray(np.clip(np.round(spoken * 32768), -32768, 32767), np.int16)


def opus(samples: Samples) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream: Any = container.add_stream("libopus", rate=48_000)
        stream.bit_rate, stream.layout = BIT_RATE, "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        for part in av.AudioResampler(format="s16", layout="mono", rate=48_000).resample(frame):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def spectrograms(rows: dict[str, Samples], path: Path) -> None:
    figure, axes = pyplot.subplots(len(rows), 1, figsize=(9, 1.8 * len(rows)), sharex=True, layout="constrained")
    for axis, (name, samples) in zip(axes, rows.items(), strict=True):
        # Silence has no logarithm: an inaudible noise lies under it.
        wave = samples / 32768 + 1e-6 * np.random.default_rng(0).standard_normal(len(samples))
        axis.specgram(wave, NFFT=512, Fs=SAMPLE_RATE_HZ, noverlap=352, vmin=-140, vmax=-40, cmap="magma")
        axis.set_ylabel("Hz")
        axis.set_title(name, loc="left", fontsize=9)
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=80, pil_kwargs={"quality": 80})
    pyplot.close(figure)


def section(out: Path, title: str, text: str, rows: dict[str, Samples], files: dict[str, str]) -> str:
    """Players and spectrograms of renderings side by side, `files` by name of the rendering."""
    picture, players = f"{title.replace(' ', '-')}.jpg", []
    spectrograms(rows, out / picture)
    for name, samples in rows.items():
        (out / files[name]).write_bytes(opus(samples))
        players.append(f'<p>{html.escape(name)}<br><audio controls src="{files[name]}"></audio></p>')
    head = f"<h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>"
    return head + "".join(players) + f'<img src="{picture}" alt="spectrograms of {html.escape(title)}">'


def page(out: Path, title: str, text: str, sections: list[str]) -> None:
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>parlando: {html.escape(title.lower())}</title>'
    style = "<style>body{font:16px sans-serif;max-width:50rem;margin:2rem auto}img{max-width:100%}</style>"
    body = f"<h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>{''.join(sections)}"
    (out / "index.html").write_text(f"{head}{style}{body}</html>\n")


def write(bundle: Bundle, codec: Codec, program: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    engine, sections, lines = load_engine(bundle, EngineConfig(workers=False)), [], []
    for voice in bundle.voices:
        (theirs,) = teacher.speak(program, voice.id, [TEXT])
        ours = np.frombuffer(speak(engine, TEXT, voice=voice.id, seed=1, sample_rate_hz=SAMPLE_RATE_HZ).pcm, np.int16)
        rows = {
            "parlando, from text": ours,
            "the teacher, CMU Flite": theirs,
            "the teacher through our codes": resynthesised(codec, bundle, theirs, voice.index),
        }
        files = {name: f"{voice.id}-{part}.ogg" for name, part in zip(rows, ("ours", "teacher", "codes"), strict=True)}
        sections.append(section(out, voice.id, voice.description, rows, files))
        lines += [f"| {voice.id} | {name} | [{file}]({file}) |" for name, file in files.items()]
    engine.close()
    page(out, "The Flite voice", TEXT, sections)
    pictures = [f"![spectrograms of {voice.id}]({voice.id}.jpg)" for voice in bundle.voices]
    written = [
        "# The Flite voice, to listen to",
        "",
        f"Made by `python -m models.judge.listening`. The sentence: *{TEXT}*",
        "Open `index.html` in a browser for players;",
        "figures are in [voice-quality.md](../measurements/voice-quality.md).",
        "",
        "| voice | what | file |",
        "|---|---|---|",
        *lines,
        "",
        *pictures,
    ]
    (out / "README.md").write_text("\n".join(written) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("flite"))
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, default=Path("work/teacher/flite_speak"))
    parser.add_argument("--out", type=Path, default=Path("docs/voice"))
    arguments = parser.parse_args()
    write(load_bundle(arguments.bundle), load_codec(arguments.codec), arguments.teacher, arguments.out)


if __name__ == "__main__":
    main()

"""The command line: serve, say, voices."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engines.bundle import load_bundle
from engines.config import MAX_DRAFT_TOLERANCE, MAX_PITCH_SEMITONES
from engines.errors import ParlandoError
from engines.mixing import cast, parse_mix
from server import logs
from server.audio import OFFERED_HZ, Resampler, spoken_rate_hz, wav_header
from server.settings import EngineMode, Settings

app = typer.Typer(help="Streaming text-to-speech you host yourself.", no_args_is_help=True, add_completion=False)
out, err = Console(), Console(stderr=True)
_PLAYERS = (
    ("aplay", "-q"),
    ("paplay",),
    ("play", "-q"),
    ("afplay",),
    ("ffplay", "-nodisp", "-autoexit", "-v", "error"),
)
BundlePath = Annotated[Path | None, typer.Option(help="A model folder; without it the shipped voice.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [8000].")] = None,
    bundle: BundlePath = None,
    engine_mode: Annotated[EngineMode | None, typer.Option(help="Engine in a process [default] or a thread.")] = None,
    pronunciations: Annotated[Path | None, typer.Option(help="A folder of pronunciation dictionaries.")] = None,
    slots: Annotated[int | None, typer.Option(help="Streams at once [128].")] = None,
    draft_tolerance: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_DRAFT_TOLERANCE,
            help="Keep drafts this many levels off; above 0 a seed does not fix the audio [0].",
        ),
    ] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help="PEM certificate; with it the server speaks TLS.")] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="PEM key, unless the certificate's file holds it.")] = None,
) -> None:
    """Starts the server. Every flag is also a PARLANDO_* variable."""
    from server.app import create_app
    from server.serving import serve as run

    given = {
        "host": host,
        "port": port,
        "bundle": bundle,
        "engine_mode": engine_mode,
        "pronunciations": pronunciations,
        "slots": slots,
        "draft_tolerance": draft_tolerance,
        "ssl_certfile": ssl_certfile,
        "ssl_keyfile": ssl_keyfile,
    }
    logs.configure(json=not sys.stderr.isatty())
    try:
        settings = Settings.with_flags({name: value for name, value in given.items() if value is not None})
        run(create_app(settings), settings)
    except (ParlandoError, OSError, ValueError) as error:
        _stop(error)


@app.command()
def say(
    text: str,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write a WAV file.")] = None,
    play: Annotated[bool, typer.Option("--play", help="Play it.")] = False,
    voice: Annotated[
        str | None, typer.Option(help="See `parlando voices`; a mix as `rms+slt` or `rms(2)+slt(1)`.")
    ] = None,
    timbre: Annotated[str | None, typer.Option(help="A voice or mix to sound like, while the voice speaks.")] = None,
    pitch: Annotated[
        float, typer.Option(min=-MAX_PITCH_SEMITONES, max=MAX_PITCH_SEMITONES, help="Semitones up or down.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    speed: Annotated[float, typer.Option()] = 1.0,
    rate: Annotated[int, typer.Option(help=f"Sample rate, one of {', '.join(map(str, OFFERED_HZ))}.")] = 24_000,
    bundle: BundlePath = None,
) -> None:
    """Speaks a text in this process and prints how long the first sound and the whole took."""
    from engines.loop import Engine
    from engines.messages import Finished, Submit
    from engines.synth import speak, stream

    try:
        if rate not in OFFERED_HZ:
            raise ValueError(f"rate {rate} is not offered; valid: {', '.join(map(str, OFFERED_HZ))}")
        engine = Engine(load_bundle(bundle))
        speak(engine, "Warm up.")
        names = {one.id: one.id for one in engine.bundle.voices}
        chosen = voice or engine.bundle.voices[0].id
        casting = cast(parse_mix(chosen, names), None if timbre is None else parse_mix(timbre, names))
        submit = Submit(
            request_id="say",
            voice=casting.voice,
            timbre=casting.timbre,
            pitch_semitones=pitch,
            seed=seed,
            speed=speed,
            sample_rate_hz=spoken_rate_hz(rate),
        )
        resampler, parts, first_s = Resampler(rate), [], None
        started_s = time.perf_counter()
        for event in stream(engine, submit, text):
            if isinstance(event, Finished):
                break
            first_s = first_s or time.perf_counter() - started_s
            parts.append(resampler.feed(event.pcm))
        spent_s = time.perf_counter() - started_s
        parts.append(resampler.feed(b"", last=True))
        engine.close()
    except (ParlandoError, ValueError) as error:
        _stop(error)
    pcm = b"".join(parts)
    audio_s = len(pcm) / 2 / rate
    wav = wav_header(rate, len(pcm)) + pcm
    if output is not None:
        output.write_bytes(wav)
    if play:
        _play(wav)
    where = f", {output}" if output else ""
    rtf = f"{spent_s / audio_s:.3f}" if audio_s else "-"
    out.print(f"{audio_s:.2f} s of {chosen}, TTFA {1000 * (first_s or 0):.1f} ms, RTF {rtf}, seed {seed}{where}")


bench = typer.Typer(help="Measures this machine.", no_args_is_help=True)
app.add_typer(bench, name="bench")


@bench.command("engine")
def bench_engine(
    streams: Annotated[list[int] | None, typer.Option(help="Streams at once; may be given several times.")] = None,
    bundle: BundlePath = None,
) -> None:
    """The engine without a server: cost of a second of speech, and where the time goes."""
    from engines.benchmark import run

    table = Table(
        "streams", "RTF", "CPU s / audio s", "LM", "vocoder", "Python per step", "rows per call", "first audio"
    )
    try:
        loaded = load_bundle(bundle)
        for count in streams or [1, 4, 16, 64]:
            found = run(loaded, count)
            first = found.first_audio_s
            table.add_row(
                str(count),
                f"{found.real_time_factor:.4f}",
                f"{found.cpu_per_audio_s:.4f}",
                f"{found.lm_s / found.audio_s:.4f}",
                f"{found.vocoder_s / found.audio_s:.4f}",
                f"{found.python_per_step_us:.0f} us",
                f"{found.lm_rows / found.lm_calls:.1f}",
                f"{1000 * first[len(first) // 2]:.1f} / {1000 * first[-1]:.1f} ms",
            )
    except ParlandoError as error:
        _stop(error)
    table.caption = "LM and vocoder: seconds of each worker per second of audio. First audio: median / last."
    table.caption += f" Kernels: {found.kernels}."
    out.print(table)


@app.command()
def voices(bundle: BundlePath = None) -> None:
    """Lists the voices; the first is the default."""
    try:
        loaded = load_bundle(bundle)
    except ParlandoError as error:
        _stop(error)
    table = Table("id", "name", "description")
    for voice in loaded.voices:
        table.add_row(voice.id, voice.name, voice.description)
    out.print(table)


def _play(wav: bytes) -> None:
    for player in _PLAYERS:
        if shutil.which(player[0]):
            with tempfile.NamedTemporaryFile(suffix=".wav") as file:
                file.write(wav)
                file.flush()
                subprocess.run([*player, file.name], check=False)
            return
    err.print(f"no player found; install one of {', '.join(player[0] for player in _PLAYERS)} or use -o FILE")


def _stop(error: Exception) -> None:
    err.print(f"[red]error[/red] {error}", highlight=False)
    raise typer.Exit(1)


def main() -> None:
    app()

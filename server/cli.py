"""The command line: serve, say, voices, export, build-engine, bench, doctor.

Texts are plain, so that brackets in them are seen.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engines.assemble import load_engine, open_bundle
from engines.errors import ParlandoError
from engines.families.added_voices import added_voices
from engines.families.common.voice_mix import choose_voice, parse_mix
from engines.families.shipped import DEFAULT
from engines.runtime.installed import check_one_runtime
from server import voice_commands
from server.app import VERSION
from server.audio import OFFERED_HZ, spoken_rate_hz
from server.audio.resampling import DEFAULT_RATE_HZ
from server.errors import ApiError
from server.path_option import BundlePath, bundle_path, path
from server.schemas import MAX_PITCH_SEMITONES, MAX_SEED, MAX_SPEED, MIN_SPEED
from server.serve_command import serve
from server.speech.model_options import in_language, takes_instructions

app = typer.Typer(
    help="Streaming text-to-speech you host yourself.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bench = typer.Typer(help="Measures this machine.", rich_markup_mode=None, no_args_is_help=True)
app.command()(serve)
app.add_typer(bench, name="bench")
app.add_typer(voice_commands.app, name="voices")
out, err = Console(markup=False, highlight=False), Console(stderr=True, markup=False, highlight=False)


class ExportDevice(StrEnum):
    CPU, CUDA, TENSORRT = "cpu", "cuda", "tensorrt"


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"parlando {VERSION}")
        raise typer.Exit


@app.callback()
def parlando(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def say(
    text: str,
    output: Annotated[Path | None, typer.Option("-o", "--output", parser=path, help="Write a WAV file.")] = None,
    play: Annotated[bool, typer.Option("--play", help="Play it.")] = False,
    voice: Annotated[
        str | None,
        typer.Option(help="See `parlando voices`; a mix as `af_heart(2)+am_michael(1)`."),
    ] = None,
    timbre: Annotated[str | None, typer.Option(help="A voice or mix to sound like, while the voice speaks.")] = None,
    pitch: Annotated[
        float, typer.Option(min=-MAX_PITCH_SEMITONES, max=MAX_PITCH_SEMITONES, help="Semitones up or down.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="The same seed speaks the same audio.")] = 0,
    speed: Annotated[float, typer.Option(min=MIN_SPEED, max=MAX_SPEED, help="2 takes half the time.")] = 1.0,
    language: Annotated[
        str | None, typer.Option(help="Name or code, where the model speaks several [it finds out].")
    ] = None,
    instructions: Annotated[str | None, typer.Option(help="How to speak, for a model that follows them.")] = None,
    rate: Annotated[
        int, typer.Option(help=f"Sample rate, one of {', '.join(map(str, OFFERED_HZ))}.")
    ] = DEFAULT_RATE_HZ,
    bundle: BundlePath = None,
) -> None:
    """Speaks a text in this process and prints how long the first sound and the whole took."""
    from engines.messages import Submit, options
    from server import say as saying

    try:
        if rate not in OFFERED_HZ:
            raise ValueError(f"rate {rate} is not offered; valid: {', '.join(map(str, OFFERED_HZ))}")
        player = saying.player() if play else None
        with ExitStack() as until_written:
            file = until_written.enter_context(saying.writing(output)) if output is not None else None
            check_one_runtime()
            loaded = open_bundle(bundle)
            names = {one.id: one.id for one in loaded.voices} | {one: one for one in added_voices(loaded, None)[0]}
            chosen = voice or loaded.voices[0].id
            chosen_voice = choose_voice(parse_mix(chosen, names), None if timbre is None else parse_mix(timbre, names))
            spoken_in = dict(in_language(loaded, language, param="--language"))
            engine = load_engine(loaded)
            if instructions is not None and not takes_instructions(engine.spec):
                raise ValueError(f"--instructions: the model {loaded.name!r} follows none; leave it out")
            submit = Submit(
                request_id="say",
                voice=chosen_voice.voice,
                seed=seed,
                sample_rate_hz=spoken_rate_hz(rate, engine.spec.rates_hz, engine.spec.native_rate_hz),
                options=options(
                    timbre=chosen_voice.timbre, pitch_semitones=pitch or None, instruction=instructions, **spoken_in
                ),
            )
            spoken = saying.say(engine, submit, text, speed=speed, rate_hz=rate)
            engine.close()
            if file is not None:
                file.write(spoken.wav)
        if player is not None:
            saying.play(player, spoken.wav)
    except (ParlandoError, ApiError, ValueError) as error:
        _stop(error)
    where = f", {output}" if output else ""
    rtf = f"{spoken.spent_s / spoken.audio_s:.3f}" if spoken.audio_s else "-"
    line = f"{spoken.audio_s:.2f} s of {chosen}, TTFA {1000 * spoken.first_s:.1f} ms, RTF {rtf}, seed {seed}{where}"
    out.print(line, soft_wrap=True)


@bench.command("engine")
def bench_engine(
    streams: Annotated[list[int] | None, typer.Option(help="Streams at once; may be given several times.")] = None,
    bundle: BundlePath = None,
) -> None:
    """The engine without a server: cost of a second of speech, and where the time goes."""
    from server.engine_benchmark import run

    table = Table(
        "streams", "RTF", "CPU s / audio s", "LM", "vocoder", "Python per step", "rows per call", "first audio"
    )
    try:
        loaded = open_bundle(bundle)
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
def export(
    source: Annotated[str, typer.Argument(help="A published checkpoint: a folder, or hf://OWNER/NAME@REVISION.")],
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", parser=path, help="The bundle's folder, which must not exist [the model's name]."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the model, as clients see it [the source's last part].")] = None,
    positions: Annotated[int, typer.Option(help="Of a slot: text and frames of a segment.")] = 1024,
    dtype: Annotated[str, typer.Option(help="Qwen3-TTS: float32, or int8: quicker, near it.")] = "float32",
    device: Annotated[
        ExportDevice, typer.Option(help="cuda: its GPU form too, into OUT-gpu. tensorrt: with plans for this GPU.")
    ] = ExportDevice.CPU,
    voice: Annotated[list[str] | None, typer.Option(help="pocket-tts: a voice's name or file; repeatable.")] = None,
    voice_licence: Annotated[str | None, typer.Option(help="pocket-tts: of voices of your own.")] = None,
    model: Annotated[str | None, typer.Option(help="pocket-tts: which of the repository's models [english].")] = None,
    config: Annotated[
        Path | None, typer.Option(parser=path, help="pocket-tts: configuration of a model not known here.")
    ] = None,
    cloning: Annotated[
        bool, typer.Option("--cloning", help="pocket-tts: the bundle takes voices while it serves.")
    ] = False,
) -> None:
    """Makes a bundle of a published checkpoint, in a process of its own: serving never loads what that needs."""
    missing = [one for one in ("torch", "onnx", "onnxscript", "tokenizers") if find_spec(one) is None]
    if missing:
        _stop(ValueError(f"export needs {', '.join(missing)}: in the checkout, pip install '.[export]'"))
    if device is ExportDevice.TENSORRT:
        _wants_builder("device tensorrt")
    if device is not ExportDevice.CPU and out_folder is None:
        _stop(ValueError(f"device {device} wants --out FOLDER: the GPU form goes into FOLDER-gpu"))
    options = ["--positions", str(positions), "--dtype", dtype]
    command = [sys.executable, "-m", "models.exporting", source, *options]
    given = {"out": out_folder, "name": name, "voice-licence": voice_licence, "model": model, "config": config}
    for option, value in [*given.items(), *(("voice", one) for one in voice or ())]:
        if value is not None:
            command += [f"--{option}", str(value)]
    done = _ran([*command, *(["--cloning"] if cloning else [])])
    if done == 0 and device is not ExportDevice.CPU and out_folder is not None:
        form = out_folder.with_name(f"{out_folder.name}-gpu")
        module = "models.gpu_graphs" if device is ExportDevice.CUDA else "models.tensorrt_plans"
        command = [sys.executable, "-m", module, str(form), "--bundle", str(out_folder)]
        done = _ran(command)
        if done:
            again = f"export-gpu {form} --bundle {out_folder}"
            if device is ExportDevice.TENSORRT:
                again = f"build-engine {out_folder} --out {form}"
            err.print(f"{out_folder} is whole; for the rest, again: parlando {again}", soft_wrap=True)
    raise typer.Exit(done)


@app.command(name="export-gpu")
def export_gpu(
    out_folder: Annotated[Path, typer.Argument(parser=path, help="A folder for the graphs.")],
    bundle: BundlePath = None,
    dtype: Annotated[str, typer.Option(help="float16, bfloat16 or float32.")] = "float16",
) -> None:
    """Writes a bundle's GPU form from its own files, in a process of its own. Serve it with --gpu-form."""
    if find_spec("onnx") is None:
        _stop(ValueError("export-gpu needs onnx: pip install 'onnx>=1.17,<1.24'"))
    options = ["--dtype", dtype, *(["--bundle", str(bundle)] if bundle else [])]
    command = [sys.executable, "-m", "models.gpu_graphs", str(out_folder), *options]
    raise typer.Exit(_ran(command))


@app.command(name="build-engine")
def build_engine(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            parser=bundle_path, envvar="PARLANDO_BUNDLE", help=f"A model folder, or a voice that ships [{DEFAULT}]."
        ),
    ] = None,
    out_folder: Annotated[
        Path,
        typer.Option(
            "--out", parser=path, help="The GPU form, as export-gpu writes it; made first where it is missing."
        ),
    ] = Path("gpu-form"),
    dtype: Annotated[str | None, typer.Option(help="Of a form that is made: float16 or bfloat16 [float16].")] = None,
) -> None:
    """Builds TensorRT's plans for the GPU of this machine into a GPU form, in a process of its own."""
    _wants_builder("build-engine")
    options = [*(["--bundle", str(bundle)] if bundle else []), *(["--dtype", dtype] if dtype else [])]
    command = [sys.executable, "-m", "models.tensorrt_plans", str(out_folder), *options]
    raise typer.Exit(_ran(command))


@app.command()
def doctor(bundle: BundlePath = None) -> None:
    """Looks at what serving needs here, and says what is wrong. Reads the PARLANDO_* variables as `serve` does."""
    from server import doctor as examination

    sound = True
    for finding in examination.findings(bundle):
        sound = sound and finding.remedy is None
        out.print(f"{'ok   ' if finding.remedy is None else 'WRONG'} {finding.what}: {finding.found}", soft_wrap=True)
        if finding.remedy is not None:
            out.print(indent(finding.remedy, " " * 6), soft_wrap=True)
    raise typer.Exit(0 if sound else 1)


def _ran(command: list[str]) -> int:
    """Its status, as a shell counts signals: a process that one ended has printed nothing."""
    status = subprocess.run(command, check=False).returncode
    if status >= 0:
        return status
    names = {one.value: one.name for one in signal.Signals}
    told = f"{command[2]} was ended by {names.get(-status, f'signal {-status}')}"
    if names.get(-status) == "SIGKILL":
        told += ": most likely memory ran out (`dmesg` or the container's events tell)"
    err.print("error", style="red", end=" ")
    err.print(told, soft_wrap=True)
    return 128 - status


def _wants_builder(what: str) -> None:
    missing = [one for one in ("tensorrt", "onnx") if find_spec(one) is None]
    if missing:
        wanted = {"tensorrt": "'tensorrt-cu13>=11.4,<11.5'", "onnx": "'onnx>=1.17,<1.24'"}
        packages = " ".join(wanted[one] for one in missing)
        _stop(ValueError(f"{what} needs {' and '.join(missing)}: pip install {packages}"))


def _stop(error: Exception) -> None:
    err.print("error", style="red", end=" ")
    err.print(str(error), soft_wrap=True)
    raise typer.Exit(1)

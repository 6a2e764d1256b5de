"""`parlando voices`: what a bundle speaks with; a voice made of a recording; its end.

A running server on the same folder notices within seconds. Bundle and folder are those of the PARLANDO_* variables
unless given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from engines.assemble import open_bundle
from engines.errors import BadParameter, ParlandoError
from engines.families.added_voices import added_voices, encode_voice, voices_folder
from engines.families.common import voice_files
from engines.families.common.recording_files import decoded
from server.path_option import BundlePath, path
from server.settings import Settings
from server.speech.voice_names import OPENAI_VOICES

app = typer.Typer(help="Lists the voices, and clones one from a recording.", rich_markup_mode=None)
out, err = Console(markup=False, highlight=False), Console(stderr=True, markup=False, highlight=False)
Folder = Annotated[
    Path | None, typer.Option("--voices", parser=path, help="Where cloned voices are kept [the bundle's `voices`].")
]


@app.callback(invoke_without_command=True)
def listed_by_default(context: typer.Context, bundle: BundlePath = None, folder: Folder = None) -> None:
    if context.invoked_subcommand is None:
        listed(bundle, folder)


@app.command("list")
def listed(bundle: BundlePath = None, folder: Folder = None) -> None:
    """Lists the voices; the first is the default."""
    try:
        loaded, chosen = _chosen(bundle, folder)
        added, problems = added_voices(loaded, chosen)
    except ParlandoError as error:
        _stop(error)
    table = Table("id", "name", "description")
    for voice in loaded.voices:
        table.add_row(voice.id, voice.name, voice.description)
    for name, file in added.items():
        text = "with its text" if file.about.get("uses_text") else "by its sound alone"
        table.add_row(name, name, f"cloned from {file.about.get('seconds', '?')} s, {text}")
    out.print(table)
    for name, problem in problems.items():
        err.print(f"{name}.npz is left out: {problem}", soft_wrap=True)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="1 to 64 of a-z, 0-9, - and _.")],
    recording: Annotated[
        Path, typer.Argument(parser=path, help="2 to 30 s of one speaker: WAV, FLAC, MP3, Ogg or M4A.")
    ],
    text: Annotated[str, typer.Option(help="What the recording says; makes the voice nearer to it.")] = "",
    consent: Annotated[str, typer.Option(help="Who speaks in it, and that they agree; kept with the voice.")] = "",
    bundle: BundlePath = None,
    folder: Folder = None,
) -> None:
    """Makes a voice of a recording. One of that name is replaced."""
    try:
        loaded, chosen = _chosen(bundle, folder)
        voice_files.check_name(name)
        if name in {voice.id for voice in loaded.voices} | OPENAI_VOICES.keys():
            raise BadParameter(f"{name!r} is the name of one of the server's own voices; take another")
        samples, rate_hz = decoded(recording.read_bytes())
        content = encode_voice(loaded, samples, rate_hz, text, consent)
        where = voices_folder(loaded, chosen)
        voice_files.write(where, name, content)
    except (ParlandoError, OSError) as error:
        _stop(error)
    kind = "with its text" if voice_files.unpacked(content).about["uses_text"] else "by its sound alone"
    out.print(f"{name}: {len(samples) / rate_hz:.1f} s, {kind}, in {where / name}.npz", soft_wrap=True)


@app.command()
def remove(name: str, bundle: BundlePath = None, folder: Folder = None) -> None:
    """Removes a cloned voice. Utterances in progress are spoken to their end."""
    try:
        loaded, chosen = _chosen(bundle, folder)
        voice_files.remove(voices_folder(loaded, chosen), name)
    except (ParlandoError, OSError) as error:
        _stop(error)
    out.print(f"{name} is removed")


def _chosen(bundle: Path | None, folder: Path | None) -> tuple[Any, Path | None]:
    settings = Settings.with_flags({})
    return open_bundle(bundle or settings.bundle), folder or settings.voices


def _stop(error: Exception) -> None:
    err.print("error", style="red", end=" ")
    err.print(str(error), soft_wrap=True)
    raise typer.Exit(1)

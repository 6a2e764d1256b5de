"""`python -m models.exporting SOURCE --out BUNDLE`, which `parlando export` starts: a checkpoint to a bundle."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from engines.errors import ParlandoError
from models.checkpoints.errors import CheckpointError
from models.checkpoints.files import CONFIGS, located, name_of, read_json
from models.checkpoints.pocket.files import DEFAULT_MODEL, has_layout
from models.checkpoints.qwen3_tts.reader import MODEL_TYPE, configs
from models.exporting.destination import check_out
from models.exporting.errors import ExportError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="parlando export", description="A published checkpoint to a bundle.")
    parser.add_argument("source", help="a folder, or hf://OWNER/NAME@REVISION")
    parser.add_argument("--out", type=Path, help="the bundle's folder, which must not exist [the model's name]")
    parser.add_argument("--name", help="of the model, as clients see it [the source's last part]")
    parser.add_argument("--positions", type=int, default=1024, help="of a slot: text and frames of a segment [1024]")
    parser.add_argument("--dtype", choices=("float32", "int8"), default="float32", help="of Qwen3-TTS's products")
    pocket = parser.add_argument_group("pocket-tts")
    pocket.add_argument(
        "--voice", action="append", default=[], help="a name, a voice file or a recording; may be repeated"
    )
    pocket.add_argument("--voice-licence", help="of voices of your own")
    pocket.add_argument("--model", default=DEFAULT_MODEL, help="of those in the repository [%(default)s]")
    pocket.add_argument("--cloning", action="store_true", help="voices can be added to the bundle; wants gated weights")
    pocket.add_argument("--config", type=Path, help="the model's configuration, where its name is not known")
    given = parser.parse_args(arguments)
    try:
        is_pocket = has_layout(given.source)
        name = given.name or (f"pocket-{given.model}" if is_pocket else name_of(given.source))
        out = given.out or Path(name)
        check_out(out)
        (_export_pocket if is_pocket else _export_qwen3_tts)(given, name, out)
    except ParlandoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or given.source}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _export_qwen3_tts(given: argparse.Namespace, name: str, out: Path) -> None:
    from models.exporting.qwen3_tts.export import LEAST_POSITIONS, check, export

    if given.positions < LEAST_POSITIONS:
        raise ExportError(f"--positions {given.positions} is too few, right is {LEAST_POSITIONS} or more")
    folder = located(given.source, CONFIGS)
    found = read_json(folder / "config.json").get("model_type")
    if found != MODEL_TYPE:
        known = f"what can be exported is {MODEL_TYPE!r}, and pocket-tts by its layout"
        raise CheckpointError(f"{given.source} is of model_type {found!r}; {known}")
    check(configs(folder), out, given.positions)
    export(
        located(given.source),
        out,
        name=name,
        positions=given.positions,
        dtype=given.dtype,
        say=lambda line: print(line, flush=True),
    )


def _export_pocket(given: argparse.Namespace, name: str, out: Path) -> None:
    from models.checkpoints.pocket.files import configuration, read
    from models.exporting.pocket.cloning import is_recording, read_recording, voice_of
    from models.exporting.pocket.export import check, export

    if not given.voice:
        raise CheckpointError("name at least one voice: --voice alba, a voice file or a recording; others can be added")
    recordings = [voice for voice in given.voice if is_recording(voice)]
    voices = [voice for voice in given.voice if not is_recording(voice)]
    if recordings and not given.voice_licence:
        raise CheckpointError(f"{recordings[0]} is a voice of your own: say its licence (--voice-licence)")
    heard = [read_recording(Path(one)) for one in recordings]
    check(configuration(given.source, given.model, given.config), out, clones=given.cloning)
    checkpoint = read(
        given.source, voices, given.model, given.config, given.voice_licence, hears=bool(recordings) or given.cloning
    )
    cloned = [voice_of(one, checkpoint, given.voice_licence) for one in heard]
    checkpoint = replace(checkpoint, voices=(*checkpoint.voices, *cloned))
    manifest = export(checkpoint, out, name, clones=given.cloning)
    for line in manifest["licences"]:
        print(line)
    for what, figure in manifest["quality"].items():
        print(f"{what}: {figure:.3g}" if isinstance(figure, float) else f"{what}: {', '.join(figure) or 'none'}")
    print(f"speak: parlando serve --bundle {out}")


if __name__ == "__main__":
    sys.exit(main())

"""python -m models.pocket_export SOURCE --voice NAME [--voice NAME ...] --out FOLDER"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from models.checkpoints.errors import CheckpointError
from models.checkpoints.pocket import files
from models.pocket_export.bundle import export


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="parlando export", description="A bundle of a pocket-tts checkpoint.")
    parser.add_argument("source", help="a folder in the released layout, or hf://OWNER/REPOSITORY[@REVISION]")
    parser.add_argument("--voice", action="append", default=[], help="a voice's name, or a file of a voice; repeatable")
    parser.add_argument("--model", default=files.DEFAULT_MODEL, help="which of the repository's models (%(default)s)")
    parser.add_argument("--config", type=Path, help="the model's configuration, where its name is not known")
    parser.add_argument("--voice-licence", help="of the voices, where they are your own")
    parser.add_argument("--out", type=Path, help="the bundle's folder (pocket-MODEL)")
    asked = parser.parse_args(arguments)
    try:
        checkpoint = files.read(asked.source, asked.voice, asked.model, asked.config, asked.voice_licence)
        folder = asked.out or Path(f"pocket-{asked.model}")
        manifest = export(checkpoint, folder)
    except CheckpointError as error:
        sys.exit(f"parlando export: {error}")
    for line in manifest["licences"]:
        print(line)
    print(f"{folder}: {', '.join(manifest['quality']['int8']) or 'nothing'} in int8. Speak: parlando serve {folder}")


if __name__ == "__main__":
    main()

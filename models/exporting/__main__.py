"""`python -m models.exporting SOURCE --out BUNDLE`, which `parlando export` starts: a checkpoint to a bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engines.errors import ParlandoError
from models.checkpoints.errors import CheckpointError
from models.checkpoints.files import located, read_json


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="parlando export", description="A published checkpoint to a bundle.")
    parser.add_argument("source", help="a folder, or hf://OWNER/NAME@REVISION")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder, which must not exist")
    parser.add_argument("--name", help="of the model, as clients see it [the source's last part]")
    parser.add_argument("--positions", type=int, default=1024, help="of a slot: text and frames of a segment [1024]")
    given = parser.parse_args(arguments)
    try:
        folder = located(given.source)
        name = given.name or given.source.rstrip("/").rpartition("/")[2].partition("@")[0]
        found = read_json(folder / "config.json").get("model_type")
        if found != "qwen3_tts":
            raise CheckpointError(f"{given.source} is of model_type {found!r}; what can be exported is 'qwen3_tts'")
        from models.exporting.qwen3_tts.export import export

        export(folder, given.out, name=name, positions=given.positions, say=lambda line: print(line, flush=True))
    except ParlandoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Side by side with peers on this machine: python -m loadtests.peers {lm,pocket,flite,naive,page,all}

Every part writes docs/measurements/peers-PART.json; `page` makes docs/measurements/peers.md from what is there. The
peers live in this benchmark's environment only. Our side runs as a separate process in the project's environments.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from loadtests.peers import page, pocket, record

PARTS = ("lm", "pocket", "flite", "naive")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=[*PARTS, "page", "all"])
    parser.add_argument("--serving", default=".venv/bin/python", help="our environment without torch")
    parser.add_argument("--training", default=".venv-dev/bin/python", help="our environment with torch and recogniser")
    parser.add_argument("--port", type=int, default=18_200, help="this and the next one are used")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds; for trying it out")
    parser.add_argument("--sizes", nargs="+", choices=list(pocket.SIZES), help="pocket: these alone; others stay")
    parser.add_argument("--only", choices=pocket.PIECES, help="pocket: this piece alone; the other stays as it was")
    parser.add_argument("--kept", type=Path, default=Path("build/pocket"), help="pocket: checkpoints and bundles")
    options = parser.parse_args()
    places = record.Places(
        serving=options.serving,
        training=options.training,
        peers=sys.executable,
        port=options.port,
        quick=options.quick,
        kept=options.kept,
        sizes=tuple(options.sizes or pocket.SIZES),
        pieces=(options.only,) if options.only else pocket.PIECES,
    )
    for part in PARTS:
        if part in options.parts or "all" in options.parts:
            print(f"peers: {part}", file=sys.stderr)
            figures: dict[str, Any] = importlib.import_module(f"loadtests.peers.{part}").run(places)
            print(record.write(part, figures))
    print(page.write())


if __name__ == "__main__":
    main()

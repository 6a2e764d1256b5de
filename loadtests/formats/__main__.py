"""Chunk borders and the cost of encoding, in every format: python -m loadtests.formats {seams,cost,all}

Writes formats.json and formats.md. Without --url the server of this checkout is started on a free port.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from loadtests import server_process
from loadtests.formats import asking, cost, page, seams
from loadtests.peers.record import machine

_COST_UTTERANCES = 24
_LOG = Path("build/formats-server.log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=["seams", "cost", "all"])
    parser.add_argument("--url", help="http://host:port of a server that runs")
    parser.add_argument("--port", type=int, help="for a server that is started here")
    parser.add_argument("--utterances", type=int, default=50, help="whose borders are listened to")
    parser.add_argument("--rounds", type=int, default=cost.ROUNDS, help="of each format's cost")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements"))
    options = parser.parse_args()
    path = options.out / "formats.json"
    figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    server = _server(options)
    try:
        voices = asking.voices(server.url)
        if {"seams", "all"} & set(options.parts):
            found = seams.run(server.url, asking.utterances(voices, options.utterances), _tell)
            figures["seams"] = _head("seams") | found
        if {"cost", "all"} & set(options.parts):
            utterances = asking.utterances(voices, _COST_UTTERANCES)
            figures["cost"] = _head("cost") | cost.run(server, utterances, _tell, options.rounds)
    finally:
        server.stop()
    options.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    path.with_suffix(".md").write_text(page.text(figures))
    print(path.with_suffix(".md"))
    worst = [
        f"{name}: {line}" for name, one in figures.get("seams", {}).get("formats", {}).items() for line in one["worst"]
    ]
    sys.exit("\n".join(worst) or None)


def _server(options: argparse.Namespace) -> server_process.Server:
    if options.url:
        return server_process.attach(options.url, None)
    return server_process.start(None, options.port, _LOG, lower=False)


def _head(part: str) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "commit": commit.stdout.strip() or None,
        "command": f"make bench-formats FORMATS={part}",
    }


def _tell(what: str) -> None:
    print(f"formats: {what}", file=sys.stderr)


if __name__ == "__main__":
    main()

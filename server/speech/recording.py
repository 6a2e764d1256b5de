"""A recording becomes a voice, in a process of its own: `python -m server.speech.recording BUNDLE`.

It reads a line of JSON (text, consent) and the recording's file from its input, and writes the voice's file. What is
wrong with the recording stands on its error stream, with status REFUSED. A file from a client is parsed here and
nowhere else: what a decoder does wrong ends this process alone.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from engines.assemble import open_bundle
from engines.errors import BadParameter, BundleError
from engines.families.added_voices import encode_voice
from engines.families.common.recording_files import decoded

REFUSED = 3


def main() -> int:
    os.nice(10)  # speech comes first
    source = sys.stdin.buffer
    asked = json.loads(source.readline())
    try:
        samples, rate_hz = decoded(source.read())
        bundle = open_bundle(Path(sys.argv[1]), checks_files=False)  # the server has checked them
        content = encode_voice(bundle, samples, rate_hz, asked["text"], asked["consent"])
    except (BadParameter, BundleError) as error:
        sys.stderr.write(str(error))
        return REFUSED
    sys.stdout.buffer.write(content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

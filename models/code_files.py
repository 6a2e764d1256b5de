"""Examples in a file, beside the name of the encoder whose codes they hold.

A codec that goes on gives other codes, and nothing in a code shows it. So each file made of codes names its encoder
(`models.encoder_hash`), and files that do not go together are refused, with what to delete.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.recordings.errors import Refused
from models.whole_files import replace_file

if TYPE_CHECKING:
    from models.lm_data import Example

# What `models.make_voice` leaves in its folder, made of codes; and what says that it is done.
_MADE_OF_CODES = {
    "codes.pkl": "",
    "listener.pt": "",
    "unspoken/*.pkl": "",
    "more.pkl": "",
    "vocoder.run": "vocoder.done",
    "vocoder.pt": "vocoder.done",
    "lm.pt": "lm.done",
    "spoken-*.pkl": "",
    "forecast-*.pt": "",
    "forecast.pt": "",
}


class OtherEncoderError(Refused):
    """Two files are of codes of different encoders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """Examples of one encoder."""

    encoder_sha256: str
    examples: list[Example]


def write_codes(path: Path, coded: Coded) -> None:
    replace_file(path, pickle.dumps({"encoder_sha256": coded.encoder_sha256, "examples": coded.examples}))


def read_codes(path: Path) -> Coded:
    found = pickle.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise OtherEncoderError(f"{path} does not name the encoder of its codes; delete it and make it again")
    return Coded(encoder_sha256=found["encoder_sha256"], examples=found["examples"])


def refuse_other_encoder(path: Path, theirs: str | None, ours: str, of: Path | str) -> None:
    """`path` names the encoder `theirs`; it has to go together with `of`, of the encoder `ours`."""
    if theirs != ours:
        named = f"is of encoder {theirs[:12]}" if theirs else "does not name its encoder"
        raise OtherEncoderError(
            f"{path} {named}, {of} of encoder {ours[:12]}: the codec went on between them. "
            f"Delete {path} and make it again"
        )


def refuse_old_codes(work: Path, encoder: str) -> None:
    """Names everything in a work folder of `models.make_voice` that is of another encoder."""
    old: list[str] = []
    for pattern, done in _MADE_OF_CODES.items():
        if any(_encoder_of(path) != encoder for path in sorted(work.glob(pattern))):
            old += [str(work / name) for name in (pattern, done) if name]
    if old:
        raise OtherEncoderError(
            f"{work / 'codec.pt'} has gone on: files made of its earlier codes do not go together with encoder "
            f"{encoder[:12]}. Delete them and run this again:\nrm -f {' '.join(dict.fromkeys(old))}"
        )


def _encoder_of(path: Path) -> str | None:
    if path.suffix == ".pkl":
        found = pickle.loads(path.read_bytes())
        return str(found["encoder_sha256"]) if isinstance(found, dict) else None
    import torch

    named: str | None = torch.load(path, weights_only=False).get("encoder_sha256")
    return named


def saying_refusals(main: Callable[[], None]) -> None:
    """Runs a command; what its user can mend is a sentence, not a traceback."""
    try:
        main()
    except Refused as error:
        raise SystemExit(str(error)) from None

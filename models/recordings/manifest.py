"""The list of a user's recordings, checked whole before anything is done with it.

    {"audio": "wavs/0001.wav", "text": "What is spoken.", "voice": "anna", "start_s": 1.5, "end_s": 4.25}

One JSON object a line; `voice`, `start_s` and `end_s` may be left out. Everything wrong is reported at once, each with
file, line, value and what would be right.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.text import FrontEnd
from models.recordings.audio import SAMPLE_RATE_HZ, Probe, UnreadableAudioError, probe
from models.recordings.errors import Refused
from models.teacher.prepare import MAX_SECONDS

MIN_SECONDS = 0.3
MAX_FILE_SECONDS = 1e6  # more is a mistake, and an integer may be too large for a float
MIN_VOICE_MINUTES = 10.0  # less is refused
SENSIBLE_VOICE_MINUTES = 60.0  # less is warned about
_FIELDS = {"audio": str, "text": str, "voice": str, "start_s": float, "end_s": float}
_VOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_SHOWN_PROBLEMS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    line: int
    audio: Path
    text: str
    voice: str
    start_s: float
    end_s: float | None  # None: to the end of the file
    seconds: float  # as the file's header says


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    path: Path
    recordings: tuple[Recording, ...]
    warnings: tuple[str, ...]
    sha256: str  # of its bytes and the sizes of its files, wherever it lies

    @property
    def voices(self) -> dict[str, float]:
        """Seconds of each voice, in the order in which they first appear."""
        found: dict[str, float] = {}
        for one in self.recordings:
            found[one.voice] = found.get(one.voice, 0.0) + one.seconds
        return found


class ManifestError(Refused):
    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        more = len(problems) - _SHOWN_PROBLEMS
        shown = problems[:_SHOWN_PROBLEMS] + ([f"... and {more} more"] if more > 0 else [])
        super().__init__("\n".join(shown))


def read_manifest(path: Path, front_end: FrontEnd, min_voice_minutes: float = MIN_VOICE_MINUTES) -> Manifest:
    try:
        raw = path.read_bytes()
        lines = raw.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise ManifestError([f"{path}: cannot be read ({error.strerror}); DATA names a file of JSON lines"]) from error
    except UnicodeDecodeError as error:
        raise ManifestError([f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8"]) from error
    reader = _Reader(path, front_end)
    for number, line in enumerate(lines, 1):
        if line.strip():
            reader.read(number, line)
    digest = hashlib.sha256(raw)
    for written in sorted(reader.sizes):
        digest.update(f"{written} {reader.sizes[written]}\n".encode(errors="surrogatepass"))
    manifest = Manifest(
        path=path,
        recordings=tuple(reader.recordings),
        warnings=tuple(reader.warnings),
        sha256=digest.hexdigest(),
    )
    if not reader.problems:
        reader.problems += _too_little(manifest, min_voice_minutes)
    if reader.problems:
        raise ManifestError(reader.problems)
    short = [
        f"{path}: voice {voice!r} has {seconds / 60:.1f} minutes; {SENSIBLE_VOICE_MINUTES:.0f} or more are sensible"
        for voice, seconds in manifest.voices.items()
        if seconds < 60 * SENSIBLE_VOICE_MINUTES
    ]
    return Manifest(
        path=path,
        recordings=manifest.recordings,
        warnings=(*manifest.warnings, *short),
        sha256=manifest.sha256,
    )


def _too_little(manifest: Manifest, min_voice_minutes: float) -> Iterator[str]:
    if not manifest.recordings:
        yield f"{manifest.path}: no recordings; one JSON object a line is right"
    for voice, seconds in manifest.voices.items():
        if seconds < 60 * min_voice_minutes:
            yield (
                f"{manifest.path}: voice {voice!r} has {seconds / 60:.1f} minutes of sound; at least "
                f"{min_voice_minutes:.0f} are needed, {SENSIBLE_VOICE_MINUTES:.0f} or more are sensible"
            )


class _Reader:
    def __init__(self, path: Path, front_end: FrontEnd) -> None:
        self.path, self.front_end = path, front_end
        self.recordings: list[Recording] = []
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.probes: dict[Path, Probe] = {}
        self.sizes: dict[str, int] = {}  # of each file, by its name in the manifest
        self.lines: dict[tuple[object, ...], int] = {}  # of each recording

    def read(self, number: int, line: str) -> None:
        where = f"{self.path}:{number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            self.problems.append(f"{where}: not JSON ({error}); one object a line is right")
            return
        problems = list(_wrong_fields(fields))
        if not problems:
            problems += self._wrong_text(fields["text"])
            problems += self._wrong_audio(number, fields)
        self.problems += [f"{where}: {problem}" for problem in problems]

    def _wrong_text(self, text: str) -> Iterator[str]:
        stream = self.front_end.open()
        stream.append(text)
        stream.end()
        if stream.unspeakable:
            yield f"text: {', '.join(map(repr, stream.unspeakable))} cannot be spoken; write it in Latin letters"
        elif not stream.spoken_any:
            yield f"text is {text!r}, which cannot be spoken; it needs at least one letter or digit"

    def _wrong_audio(self, number: int, fields: dict[str, Any]) -> Iterator[str]:
        audio = self.path.parent / fields["audio"]
        if not _is_file(audio):
            yield f"audio {fields['audio']!r} is not a file in {str(self.path.parent)!r}; paths count from the manifest"
            return
        if audio not in self.probes:
            try:
                self.probes[audio] = probe(audio)
            except UnreadableAudioError as error:
                yield f"audio {fields['audio']!r}: {error}; WAV, FLAC, Ogg, MP3 and AAC are right"
                return
            if self.probes[audio].sample_rate_hz < SAMPLE_RATE_HZ:
                self.warnings.append(
                    f"{self.path}:{number}: audio {fields['audio']!r} has {self.probes[audio].sample_rate_hz} Hz; "
                    f"below {SAMPLE_RATE_HZ} Hz the voice will sound dull"
                )
        self.sizes[fields["audio"]] = audio.stat().st_size
        whole = self.probes[audio].seconds
        start_s, end_s = float(fields.get("start_s", 0.0)), fields.get("end_s")
        last = whole if end_s is None else float(end_s)
        if not 0 <= start_s < last <= whole + 0.05:
            yield f"the cut {start_s:g} to {last:g} s is not inside the file, which lasts {whole:.2f} s"
        elif last - start_s > MAX_SECONDS:
            yield f"{last - start_s:.1f} s are too long; at most {MAX_SECONDS:g} s: cut it with start_s and end_s"
        elif last - start_s < MIN_SECONDS:
            yield f"{last - start_s:.2f} s are too short; at least {MIN_SECONDS:g} s"
        elif (row := (audio, fields["text"], fields.get("voice"), start_s, last)) in self.lines:
            self.warnings.append(
                f"{self.path}:{number}: the same as line {self.lines[row]}, so left out: "
                "one of the two could be trained on, the other held out"
            )
        else:
            self.lines[row] = number
            self.recordings.append(
                Recording(
                    line=number,
                    audio=audio,
                    text=fields["text"],
                    voice=fields.get("voice", "voice"),
                    start_s=start_s,
                    end_s=None if end_s is None else float(end_s),
                    seconds=last - start_s,
                )
            )


def _wrong_fields(fields: object) -> Iterator[str]:
    if not isinstance(fields, dict):
        yield f'{fields!r} is not an object; {{"audio": ..., "text": ...}} is right'
        return
    for name in sorted(fields.keys() - _FIELDS.keys()):
        yield f"unknown field {name!r}; there are {', '.join(_FIELDS)}"
    for name in ("audio", "text"):
        if name not in fields:
            yield f"{name!r} is missing"
    for name, value in fields.items():
        kind = _FIELDS.get(name)
        if kind is str and (not isinstance(value, str) or not value.strip()):
            yield f"{name} is {value!r}; a text that is not empty is right"
        elif kind is str and name == "voice" and not _VOICE.fullmatch(value):
            yield f"voice is {value!r}; up to 40 of A-Z, a-z, 0-9, - and _ are right"
        elif kind is float and not (type(value) in (int, float) and abs(value) <= MAX_FILE_SECONDS):  # NaN is neither
            yield f"{name} is {repr(value)[:40]}; a number of seconds is right"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # its name is longer than names may be
        return False

"""Voices cloned from recordings: what there is, new ones from clients, their end, and that the engines hear of it.

The folder is the truth: what is added or removed there, by this server, by another one on the same folder or by
`parlando voices`, is noticed within `_LOOK_EVERY_S` and told to every engine. Who may remove a voice is for its owner
to decide, as of dictionaries.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from engines.errors import BadParameter, ConfigError
from engines.families.added_voices import added_voices, most_voices, voices_folder, why_no_voices
from engines.families.bundle import Bundle
from engines.families.common import voice_files
from engines.messages import Command, SetVoice
from server.errors import ApiError
from server.logs import get_logger
from server.settings import Settings
from server.speech.owners import Kind, Owner, Owners
from server.speech.recording import REFUSED

log = get_logger()
_REMOVE = "DELETE /v1/audio/voices/NAME"
MAX_TEXT, MAX_CONSENT = 1_000, 500
_LOOK_EVERY_S = 2.0
_ENCODE_S = 60.0
_ENCODER = (sys.executable, "-m", "server.speech.recording")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonedVoice:
    """As a voice of the bundle, and more."""

    id: str
    digest: str
    created_s: float
    seconds: float  # of its recording; 0: not known
    uses_text: bool
    is_added: bool  # by a client

    @property
    def name(self) -> str:
        return self.id

    @property
    def description(self) -> str:
        return "cloned from a recording"


class ClonedVoices:
    def __init__(self, settings: Settings, bundle: Bundle, tell: Callable[[Command], None]) -> None:
        """`tell` reaches every engine. Raises ConfigError."""
        self._bundle, self._tell = bundle, tell
        self.why_not = why_no_voices(bundle)
        if settings.voices is not None and not settings.voices.is_dir():
            raise ConfigError(f"voices: {str(settings.voices)!r} is no folder; make it, or leave the setting out")
        self._chosen = settings.voices
        self._folder = voices_folder(bundle, settings.voices)
        kind = Kind(plural="voices", remove=_REMOVE, most=most_voices(bundle))
        self._owners = Owners(self._folder, kind, of_key=settings.key_voices, of_address=settings.anonymous_voices)
        self._told: dict[str, str] = {}  # problems that the log has
        self._encoding = asyncio.Semaphore(1)
        self._changing = asyncio.Lock()
        self.listed: dict[str, ClonedVoice] = {}
        found, self._stamp = self._read()
        self._take(found)

    def use(self, name: str) -> str:
        """The digest of a cloned voice that is about to speak; empty for the bundle's own, which its digest covers."""
        if (found := self.listed.get(name)) is None:
            return ""
        self._owners.used(name)
        return found.digest

    def check_takes(self) -> None:
        """Whether clients may add any. Raises ApiError."""
        if self.why_not is not None:
            raise ApiError("cannot_clone", self.why_not)
        if self._chosen is None:
            message = "this server keeps no voices of clients: it was started without a folder for them (--voices)"
            raise ApiError("read_only", message)

    async def add(
        self, name: str, recording: bytes, text: str, consent: str, owner: Owner, taken: Collection[str]
    ) -> ClonedVoice:
        """Raises ApiError."""
        self.check_takes()
        with _as_refusals():
            voice_files.check_name(name)
        async with self._changing:
            self._check_free(name, taken)
            self._owners.room_for(owner, self.listed)  # before the work
        content = await self._encoded(recording, text, consent)
        async with self._changing:
            self._check_free(name, taken)
            leaving = self._owners.room_for(owner, self.listed)
            with _as_refusals():
                await asyncio.to_thread(self._write, name, content, owner, leaving)
            await self._look(always=True)
        if name not in self.listed:
            raise ApiError("internal_error", f"voice {name!r} was made and cannot be read: see the server's log")
        log.info("voice_added", name=name, seconds=self.listed[name].seconds)
        return self.listed[name]

    async def remove(self, name: str, owner: Owner) -> None:
        """Raises ApiError."""
        self.check_takes()
        async with self._changing:
            if name not in self.listed:
                there = ", ".join(self.listed) or "none"
                raise ApiError("unknown_voice", f"there is no added voice {name!r}; there are: {there}", param="name")
            if not self._owners.owns(owner, name):
                whose = "another client's" if self._owners.is_added(name) else "the operator's"
                message = f"voice {name!r} is {whose}; only the client that added one may remove it"
                raise ApiError("read_only", message, param="name")
            with _as_refusals():
                await asyncio.to_thread(self._unlink, name)
            await self._look(always=True)
        log.info("voice_removed", name=name)

    async def watch(self) -> None:
        """Until cancelled."""
        while self.why_not is None:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                async with self._changing:
                    await self._look()
            except OSError as error:
                log.warning("voices_unread", folder=str(self._folder), problem=str(error))
            except Exception:  # a bug of ours: the folder is looked at again all the same
                log.exception("voices_unread", folder=str(self._folder))

    # -- the folder ------------------------------------------------------------------------------------------------

    async def _look(self, always: bool = False) -> None:
        stamp = await asyncio.to_thread(self._stamp_of)
        if stamp == self._stamp and not always:
            return
        found, self._stamp = await asyncio.to_thread(self._read)
        before = {name: one.digest for name, one in self.listed.items()}
        for name in before.keys() - found.keys():
            self._tell(SetVoice(voice=name, content=None))
        for name, file in found.items():
            if before.get(name) != file.digest:
                self._tell(SetVoice(voice=name, content=file.content))
        self._take(found)

    def _take(self, found: dict[str, voice_files.VoiceFile]) -> None:
        self.listed = {name: self._described(name, file) for name, file in found.items()}

    def _described(self, name: str, file: voice_files.VoiceFile) -> ClonedVoice:
        about: dict[str, Any] = dict(file.about)
        return ClonedVoice(
            id=name,
            digest=file.digest,
            created_s=_number(about.get("created_s")),
            seconds=_number(about.get("seconds")),
            uses_text=bool(about.get("uses_text", False)),
            is_added=self._owners.is_added(name),
        )

    def _read(self) -> tuple[dict[str, voice_files.VoiceFile], int | None]:
        stamp = self._stamp_of()  # first: what comes while it is read is seen the next time
        self._owners.reload()
        found, problems = added_voices(self._bundle, self._chosen)
        for name, problem in problems.items():
            if self._told.get(name) != problem:
                log.warning("voice_refused", name=name, problem=problem)
        self._told = problems
        return found, stamp

    def _stamp_of(self) -> int | None:
        try:
            return self._folder.stat().st_mtime_ns
        except OSError:
            return None

    def _write(self, name: str, content: bytes, owner: Owner, leaving: str | None) -> None:
        self._owners.reload()
        if leaving is not None:
            self._unlink(leaving)
            log.info("voice_made_room", name=leaving)
        self._owners.forget_all_but(voice_files.names(self._folder))
        voice_files.write(self._folder, name, content)
        self._owners.added(name, owner)

    def _unlink(self, name: str) -> None:
        voice_files.remove(self._folder, name)
        self._owners.removed(name)

    # -- checks ----------------------------------------------------------------------------------------------------

    def _check_free(self, name: str, taken: Collection[str]) -> None:
        if name in self.listed:
            message = f"there is a voice {name!r} already; remove it first with {_REMOVE}, or take another name"
            raise ApiError("invalid_parameter", message, param="name")
        if name in taken:
            message = f"{name!r} is the name of one of the server's own voices; take another"
            raise ApiError("invalid_parameter", message, param="name")

    # -- encoding --------------------------------------------------------------------------------------------------

    async def _encoded(self, recording: bytes, text: str, consent: str) -> bytes:
        """One at a time; the guard bounds how many wait."""
        asked = json.dumps({"text": text, "consent": consent}).encode() + b"\n"
        async with self._encoding:
            process = await asyncio.create_subprocess_exec(
                *_ENCODER,
                str(self._bundle.folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(_ENCODE_S):
                    content, output = await process.communicate(asked + recording)
            except TimeoutError as error:
                message = f"the recording was not encoded within {_ENCODE_S:g} s; try again, or a shorter one"
                raise ApiError("deadline_exceeded", message) from error
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()  # it is left behind by a client that has gone, or hangs
                await process.wait()
        if process.returncode == 0:
            return content
        if process.returncode == REFUSED:
            raise ApiError("invalid_parameter", output.decode(errors="replace"), param="audio_sample")
        log.error("voice_encoder_failed", status=process.returncode, output=output.decode(errors="replace")[-2000:])
        raise ApiError("internal_error", "the recording could not be encoded: the voice encoder failed")


def _number(told: Any) -> float:
    """What a file says of its recording changes no sound: what is none counts as not known."""
    return float(told) if isinstance(told, int | float) else 0.0


@contextlib.contextmanager
def _as_refusals() -> Any:
    try:
        yield
    except BadParameter as error:
        raise ApiError(error.code, str(error), param="name") from error
    except OSError as error:
        raise ApiError("read_only", f"the folder of voices cannot be written: {error.strerror}") from error

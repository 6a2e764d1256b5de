"""Every help and error text, as a terminal of 80 columns shows it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import termios
import threading
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from server.app import VERSION, create_app
from server.cli import app
from server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = typer.main.get_command(app)


def in_a_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """The exit status, and what stands on the screen."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "server", *arguments],
        cwd=ROOT,
        env=plain | {"TERM": "xterm"} | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(60), re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r", "")


def words(text: str) -> str:
    return " ".join(text.split())


def every(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from every(below, (*path, name))


@pytest.mark.parametrize(("path", "command"), [pytest.param(*one, id=" ".join(one[0])) for one in every(COMMANDS)])
def test_help_says_every_word_that_was_written(path: tuple[str, ...], command: Any) -> None:
    status, shown = in_a_terminal(*path, "--help")
    assert status == 0
    assert max(map(len, shown.splitlines())) <= 80
    assert command.help
    assert words(command.help) in words(shown)
    for parameter in command.params:
        if written := getattr(parameter, "help", None):
            assert words(written) in words(shown)


def test_brackets_are_seen() -> None:
    shown = in_a_terminal("serve", "--help")[1]
    for bracketed in ("[127.0.0.1]", "[8000]", "[default]", "[128]", "[0<=x<=3]"):
        assert bracketed in shown


def test_the_version_is_told() -> None:
    assert in_a_terminal("--version") == (0, f"parlando {VERSION}\n")


def _taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


taken = pytest.fixture(_taken)


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["serve", "--prot", "1"], 2, "Error: No such option: --prot"),
        (["serve", "--port", "[x]"], 2, "Error: Invalid value for '--port': "),
        (["serve", "--port", "70000"], 1, "error --port is '70000': input should be less than or equal to 65535"),
        (["serve", "--voices", ""], 2, "Error: Invalid value for '--voices': the path is empty"),
        (["say", "Hello.", "--output", ""], 2, "Error: Invalid value for '-o' / '--output': the path is empty"),
        (["export-gpu", ""], 2, "Error: Invalid value for 'out_folder': the path is empty"),
        (["serve", "--slots", "0"], 1, "error --slots is '0': input should be greater than or equal to 1"),
        (
            ["serve", "--bundle", "/no[where]"],
            1,
            "error /no[where] does not exist; name a model's folder, or one that ships: natural, flite",
        ),
        (["serve", "--ssl-certfile", "/no[where]"], 1, "error cannot speak TLS with /no[where] and the key in it: "),
        (["say"], 2, "Error: Missing argument"),
        (["say", "Hello.", "--speed", "4.1"], 2, "Error: Invalid value for '--speed': "),
        (["say", "Hello.", "--rate", "1"], 1, "error rate 1 is not offered; valid: 8000, 16000, 22050, 24000, "),
        (["say", "Hello.", "--voice", "[red]"], 1, "error voice '[red]' does not exist; valid: rms, slt, awb, kal16"),
        (["say", "Hello.", "--language", "de"], 1, "error --language 'de' is not spoken here; valid: auto, en"),
        (["say", "Hello.", "--instructions", "sing"], 1, "error --instructions: the model 'flite' follows none"),
        (["say", "..."], 1, "error "),
        (["sing"], 2, "Error: No such command 'sing'."),
    ],
)
def test_an_error_is_one_line_that_names_the_value(arguments: list[str], status: int, line: str) -> None:
    ended, shown = in_a_terminal(*arguments)
    assert ended == status
    assert words(line) in words(shown)
    assert "Traceback" not in shown
    if status == 1:
        assert shown.count("error ") == 1
        assert shown.startswith("error ")


@pytest.mark.parametrize("command", [["say", "Hello."], ["voices"], ["serve"], ["bench", "engine"]])
def test_the_bundle_of_the_environment_is_what_speaks(command: list[str]) -> None:
    status, shown = in_a_terminal(*command, PARLANDO_BUNDLE="/no[where]")
    assert status == 1
    assert words(shown).startswith("error /no[where] does not exist; name a model's folder")


@pytest.mark.parametrize("where", ["PARLANDO_PORT", "PARLANDO_METRICS_PORT"])
def test_an_address_in_use_is_named(taken: int, where: str) -> None:
    status, shown = in_a_terminal("serve", **{"PARLANDO_PORT": "0", where: str(taken)})
    assert status == 1
    assert words(f"error cannot listen on 127.0.0.1:{taken}: address already in use") in words(shown)
    assert "Traceback" not in shown


def _spoken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What an engine has been asked to speak, so that a test sees that it was not."""
    asked: list[str] = []

    def refuse(bundle: object) -> None:
        asked.append("an engine")
        raise AssertionError("an engine was started for a file that cannot be written")

    monkeypatch.setattr("engines.engine.Engine", refuse)
    return asked


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing/said.wav", "there is no folder {here}/missing"),
        ("", "it is a folder"),
        ("said.mp3", "the file is a WAV file, so its name ends with .wav"),
        ("said", "the file is a WAV file, so its name ends with .wav"),
        ("closed/said.wav", "permission denied"),
        ("kept.wav", "permission denied"),
    ],
)
def test_what_cannot_be_written_is_known_before_speaking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, why: str
) -> None:
    asked = _spoken(monkeypatch)
    (tmp_path / "closed").mkdir(mode=0o555)
    (tmp_path / "kept.wav").write_bytes(b"kept")
    (tmp_path / "kept.wav").chmod(0o444)
    for folder in (tmp_path, *takewhile(lambda one: one != Path(gettempdir()), tmp_path.parents)):
        folder.chmod(0o755)  # pytest's own are for their owner alone
    CliRunner().invoke(app, ["say", "Hello.", "-o", "/"])  # all that is imported is imported by now
    euid = os.geteuid()
    if euid == 0:
        os.seteuid(65_534)  # the superuser may write anywhere
    try:
        done = CliRunner().invoke(app, ["say", "Hello.", "-o", str(tmp_path / path)])
    finally:
        os.seteuid(euid)
    assert done.exit_code == 1
    assert asked == []
    assert words(done.output) == words(f"error cannot write {tmp_path / path}: {why.format(here=tmp_path)}")
    assert (tmp_path / "kept.wav").read_bytes() == b"kept"


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(app, ["say", "Hello.", "-o", "/dev/full"])
    assert (done.exit_code, words(done.output)) == (1, "error cannot write /dev/full: no space left on device")
    kept = tmp_path / "said.wav"
    kept.write_bytes(b"kept")

    def full(self: Path, to: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    done = CliRunner().invoke(app, ["say", "Hello.", "-o", str(kept)])
    assert (done.exit_code, words(done.output)) == (1, f"error cannot write {kept}: no space left on device")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("said.wav", b"kept")]


def test_a_refused_text_leaves_the_old_file(tmp_path: Path) -> None:
    kept = tmp_path / "said.wav"
    kept.write_bytes(b"kept")
    assert CliRunner().invoke(app, ["say", "...", "-o", str(kept)]).exit_code == 1
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("said.wav", b"kept")]


@pytest.mark.parametrize("speed", [0.25, 4.0])
def test_speech_is_as_quick_as_a_server_makes_it(tmp_path: Path, speed: float) -> None:
    lengths = []
    for name, factor in (("plain.wav", 1.0), ("asked.wav", speed)):
        path = tmp_path / name
        done = CliRunner().invoke(app, ["say", "As quick as you like.", "--speed", str(factor), "-o", str(path)])
        assert done.exit_code == 0, done.output
        with wave.open(str(path)) as file:
            lengths.append(file.getnframes())
    assert lengths[0] / lengths[1] == pytest.approx(speed, rel=0.15)


def test_a_player_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player = tmp_path / "aplay"
    player.write_text("#!/bin/sh\nexit 3\n")
    player.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = CliRunner().invoke(app, ["say", "Hello.", "--play"])
    assert (done.exit_code, words(done.output)) == (1, "error aplay ended with 3 and may not have played it")
    player.write_text("#!/bin/sh\nexit 0\n")
    assert CliRunner().invoke(app, ["say", "Hello.", "--play"]).exit_code == 0


def test_a_missing_player_is_known_before_speaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _spoken(monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(app, ["say", "Hello.", "--play"])
    assert done.exit_code == 1
    assert "no player found; install one of aplay, " in words(done.output)
    assert asked == []


def test_the_doctor_looks_at_all_that_serving_needs(taken: int) -> None:
    status, shown = in_a_terminal("doctor", PARLANDO_PORT="0")
    assert status == 0, shown
    for what in ("parlando", "packages", "processor", "bundle", "slots", "GPU", "device", "engine", "streams", "port"):
        assert f"ok    {what}: " in shown
    assert re.search(r"streams: [1-9]\d* at once in real time", shown)
    assert "kernels: " in shown
    assert "voices rms, slt, awb, kal16" in shown
    status, shown = in_a_terminal("doctor", "--bundle", "/no[where]", PARLANDO_PORT=str(taken), PARLANDO_PROT="1")
    assert status == 1
    for line in (
        "WRONG settings: PARLANDO_PROT is no setting did you mean PARLANDO_PORT?",
        "WRONG bundle: cannot be served /no[where] does not exist; name a model's folder, or one that ships: natural, ",
        f"cannot listen on 127.0.0.1:{taken}: address already in use; give another by PARLANDO_PORT or --port",
    ):
        assert words(line) in words(shown)


@pytest.mark.parametrize(("title", "found"), [("parlando", True), ("other", False)])
def test_the_doctor_knows_a_server_of_ours(title: str, found: bool) -> None:
    document = json.dumps(create_app(Settings()).openapi() | {"info": {"title": title}}).encode()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/openapi.json" else 404)
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        status, shown = in_a_terminal("doctor", PARLANDO_PORT=str(server.server_port))
        server.shutdown()
        thread.join()
    assert status == (0 if found else 1)
    assert ("a server of ours answers already" in words(shown)) == found


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("API_KEYS_FILE", "/nope", "api_keys_file /nope"),
        ("SSL_CERTFILE", "/nope", "cannot speak TLS with /nope"),
        ("VOICES", "/nope", "'/nope' is no folder"),
        ("VOICE_ALIASES", "a=nope", "a=nope"),
    ],
)
def test_the_doctor_refuses_what_serve_would(variable: str, value: str, says: str) -> None:
    status, shown = in_a_terminal("doctor", PARLANDO_PORT="0", **{f"PARLANDO_{variable}": value})
    assert status == 1
    assert words(says) in words(shown)
    assert "Traceback" not in shown

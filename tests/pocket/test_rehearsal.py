"""The user's path with random weights in the layout of the weights' repository: export, serve, curl; and what each step
says when a file is not as it should be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.exporting.__main__ import main
from tests.edge.conftest import RunningServer

NAME = "english_2m_2026-10"


@pytest.fixture
def repository(smallest: Path, tmp_path: Path) -> Path:
    """languages/MODEL/..., without a configuration, which the repository has not."""
    folder = tmp_path / "pocket-tts-without-voice-cloning"
    shutil.copytree(smallest, folder / "languages" / NAME)
    (folder / "languages" / NAME / "config.yaml").unlink()
    return folder


def parlando(*asked: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "server", *asked], capture_output=True, text=True, check=False)


def export(repository: Path, *asked: str) -> list[str]:
    return [str(repository), "--model", NAME, "--out", str(repository.parent / "bundle"), *asked]


def test_export_serve_curl(repository: Path) -> None:
    done = parlando("export", *export(repository, "--voice", "alba", "--voice", "marius"))
    assert done.returncode == 0, done.stderr
    bundle = repository.parent / "bundle"
    assert f"weights {NAME} of Kyutai's pocket-tts: CC-BY-4.0" in done.stdout
    assert "voice alba (Alba MacKenna): CC-BY-4.0\nvoice marius (voice donations): CC0-1.0" in done.stdout
    assert f"speak: parlando serve --bundle {bundle}" in done.stdout
    doctor = parlando("doctor", "--bundle", str(bundle))
    assert "MB each" in doctor.stdout
    with RunningServer(bundle=str(bundle), slots="2") as server:
        body = '{"input": "Hello, this is a human voice.", "voice": "marius", "response_format": "wav"}'
        asked = ["curl", "-sSf", f"{server.url}/v1/audio/speech", "-H", "content-type: application/json", "-d", body]
        wav = subprocess.run(asked, capture_output=True, check=True).stdout
        assert wav[:4] == b"RIFF"
        assert len(wav) > 24_000
        voices = subprocess.run(["curl", "-sSf", f"{server.url}/v1/voices"], capture_output=True, text=True, check=True)
        assert "Alba MacKenna, CC-BY-4.0" in voices.stdout


def test_export_for_a_gpu_writes_its_form_too(repository: Path) -> None:
    done = parlando("export", *export(repository, "--voice", "alba", "--device", "cuda"))
    assert done.returncode == 0, done.stderr
    assert (repository.parent / "bundle-gpu" / "gpu.json").exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--device", "tensorrt", "--out", "x"], "device tensorrt needs tensorrt: pip install 'tensorrt-cu13"),
        (["--device", "cuda"], "device cuda wants --out FOLDER"),
        (["--device", "tpu"], "'tpu' is not one of 'cpu', 'cuda', 'tensorrt'"),
    ],
)
def test_a_device_that_no_export_is_for(asked: list[str], words: str) -> None:
    done = parlando("export", "nowhere", *asked)
    assert done.returncode != 0
    assert words in " ".join(done.stderr.split())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), f"lacks languages/{NAME}/model.safetensors"),
        (lambda folder: (folder / "tokenizer.model").unlink(), f"lacks languages/{NAME}/tokenizer.model"),
        (
            lambda folder: (folder / "embeddings/alba.safetensors").unlink(),
            "embeddings/alba.safetensors (there are marius",
        ),
        (lambda folder: cut(folder / "model.safetensors"), "model.safetensors is truncated"),
        (lambda folder: cut(folder / "embeddings/alba.safetensors"), "alba.safetensors is truncated"),
        (lambda folder: cut(folder / "tokenizer.model"), "tokenizer.model is no SentencePiece model"),
    ],
)
def test_a_broken_checkpoint_is_told_by_the_command(
    repository: Path, broken: Callable[[Path], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: another one would load torch again."""
    broken(repository / "languages" / NAME)
    assert main(export(repository, "--voice", "alba")) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert words in told
    assert not (repository.parent / "bundle").exists()


def test_a_broken_bundle_is_told_by_serve_and_doctor(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "broken")
    cut(folder / "decoder.onnx")
    for command in ("serve", "doctor"):
        done = parlando(command, "--bundle", str(folder))
        assert done.returncode != 0
        assert "decoder.onnx has sha256" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr

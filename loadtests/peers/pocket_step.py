"""pocket-tts' own loop over a checkpoint of the released layout: python -m loadtests.peers.pocket_step

A worker: a job is {"folder", "int8", "threads", "voice", "texts"}; each text is spoken whole, one after another, as the
package's own server does. Nothing is fetched. The answer has what the texts took together and, of each text, the first
audio's delay and the number of times that a listener who plays from the first audio on runs dry.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def build(source: Path, int8: bool, voice: str) -> tuple[Any, Any]:
    """The model with the folder's weights, and the state of a voice."""
    import yaml
    from pocket_tts import TTSModel

    config = yaml.safe_load((source / "config.yaml").read_text())
    config |= {"weights_path": str(source / "model.safetensors"), "weights_path_without_voice_cloning": None}
    table = config["flow_lm"]["lookup_table"]
    suffix = "json" if table["tokenizer"] == "tokenizers" else "model"
    table["tokenizer_path"] = str(source / f"tokenizer.{suffix}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        model = TTSModel.load_model(config=path, quantize=int8)
    return model, model.get_state_for_audio_prompt(str(source / "embeddings" / f"{voice}.safetensors"))


def speak(model: Any, state: Any, texts: list[str]) -> dict[str, Any]:
    samples, ttfas_s, underruns = 0, [], []
    cpu_s, started_s = time.process_time(), time.perf_counter()
    for text in texts:
        asked_s, dry_at_s, dry = time.perf_counter(), None, 0
        for chunk in model.generate_audio_stream(state, text):
            now_s = time.perf_counter()
            if dry_at_s is None:
                ttfas_s.append(now_s - asked_s)
                dry_at_s = now_s
            dry += now_s > dry_at_s
            dry_at_s = max(dry_at_s, now_s) + chunk.shape[-1] / model.sample_rate
            samples += chunk.shape[-1]
        underruns.append(dry)
    return {
        "audio_s": samples / model.sample_rate,
        "cpu_s": time.process_time() - cpu_s,
        "wall_s": time.perf_counter() - started_s,
        "ttfas_s": ttfas_s,
        "underruns": underruns,
    }


def speaking_parameters(model: Any) -> int:
    """Without the audio encoder, which only reads a new voice. Packed int8 weights do not show here."""
    named = model.named_parameters()
    return sum(one.numel() for name, one in named if not name.startswith(("mimi.encoder", "mimi.downsample")))


def main() -> None:
    logging.disable(logging.WARNING)
    kept: dict[tuple[str, bool], tuple[Any, Any]] = {}
    for line in sys.stdin:
        job = json.loads(line)
        answer: dict[str, Any]
        with contextlib.redirect_stdout(sys.stderr):
            import torch

            try:
                key = job["folder"], job["int8"]
                if key not in kept:
                    kept[key] = build(Path(job["folder"]), job["int8"], job["voice"])
                torch.set_num_threads(job["threads"])
                answer = speak(*kept[key], job["texts"])
                answer["parameters"] = speaking_parameters(kept[key][0])
            except Exception as error:  # the caller writes down why a form could not be measured
                answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

"""pocket-tts' own model classes with random weights in their own step loop: python -m loadtests.peers.pocket_step

A worker: a job is {"model", "int8", "threads", "audio_s", "words"}. The configuration is one that the package
ships, without its weights and with a made-up word list as tokenizer, so nothing is fetched. The end-of-speech threshold
is out of reach and the length fixed, so every run makes the audio asked for. Speed is measured; the audio is noise.
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

CONFIGURATIONS = {"2M": "english_2m_2026-10", "100M": "english"}
_PROMPT_S = 5  # of noise, as the voice to be continued


def build(name: str, int8: bool, folder: Path) -> tuple[Any, Any]:
    """The model and the state of a voice, and nothing from the network."""
    import tokenizers
    import torch
    import yaml
    from pocket_tts import TTSModel
    from pocket_tts.utils.config import CONFIGS_DIR

    config = yaml.safe_load((CONFIGS_DIR / f"{CONFIGURATIONS[name]}.yaml").read_text())
    for part in (config, config["flow_lm"], config["mimi"]):
        for key in ("weights_path", "weights_path_without_voice_cloning"):
            part.pop(key, None)
    table = config["flow_lm"]["lookup_table"]
    words = ["<unk>", ".", *[f"w{index}" for index in range(table["n_bins"] - 2)]]
    tokens = tokenizers.models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(tokens)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table |= {"tokenizer": "tokenizers", "tokenizer_path": str(folder / "tokenizer.json")}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    model = TTSModel.load_model(config=folder / f"{name}.yaml", quantize=int8, eos_threshold=float("inf"))
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.isfinite().all():
                parameter.normal_(0, 0.02)  # some are left as the memory was
    prompt = 0.1 * torch.randn(1, _PROMPT_S * model.sample_rate)
    return model, model.get_state_for_audio_prompt(prompt)


def speak(model: Any, state: Any, audio_s: float, words: int) -> dict[str, float]:
    frames = round(audio_s * model.config.mimi.frame_rate)
    model._TOKENS_PER_SECOND_ESTIMATE = float("inf")
    model._GEN_SECONDS_PADDING = (frames - 0.5) / model.config.mimi.frame_rate  # it rounds up to whole frames
    text = " ".join(f"w{index}" for index in range(words))
    cpu_s, started_s, first_s, samples = time.process_time(), time.perf_counter(), None, 0
    for chunk in model.generate_audio_stream(state, text, max_tokens=10_000):
        first_s = first_s or time.perf_counter() - started_s
        samples += chunk.shape[-1]
    assert first_s is not None
    return {
        "audio_s": samples / model.sample_rate,
        "cpu_s": time.process_time() - cpu_s,
        "wall_s": time.perf_counter() - started_s,
        "ttfa_s": first_s,
    }


def speaking_parameters(model: Any) -> int:
    """Without the audio encoder, which only reads a new voice. Packed int8 weights do not show here."""
    named = model.named_parameters()
    return sum(one.numel() for name, one in named if not name.startswith(("mimi.encoder", "mimi.downsample")))


def main() -> None:
    logging.disable(logging.WARNING)
    kept: dict[tuple[str, bool], tuple[Any, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            job = json.loads(line)
            answer: dict[str, Any]
            with contextlib.redirect_stdout(sys.stderr):
                import torch

                try:
                    key = job["model"], job["int8"]
                    if key not in kept:
                        kept[key] = build(*key, Path(folder))
                    torch.set_num_threads(job["threads"])
                    answer = speak(*kept[key], job["audio_s"], job["words"])
                    answer |= {"parameters": speaking_parameters(kept[key][0])}
                except Exception as error:  # the caller writes down why a form could not be measured
                    answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

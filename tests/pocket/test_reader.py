"""The reader takes what the package writes and refuses all else, naming what is wrong and what would be right."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sentencepiece
import torch
import yaml
from tokenizers import Tokenizer, models

from models.checkpoints.errors import CheckpointError
from models.checkpoints.pocket import files, releases
from models.checkpoints.pocket.config import config_from, read_config
from models.checkpoints.pocket.random_checkpoint import sentencepiece_file, write_random, write_voice
from models.checkpoints.pocket.weights import shapes
from models.checkpoints.safetensors import Tensors, write

MODELS = ["english_2m_2026-10", "english_7m_refl_2026-10", "english_18m_2026-10"]


@pytest.fixture
def copy(smallest: Path, tmp_path: Path) -> Path:
    return shutil.copytree(smallest, tmp_path / "copy")


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(CheckpointError) as error:
        call()
    return str(error.value)


@pytest.mark.parametrize("name", MODELS)
def test_reads_every_size_in_the_released_layout(name: str, tmp_path: Path) -> None:
    config = releases.release(name)
    write_random(tmp_path / "languages" / name, config, ("alba",))
    read = files.read(str(tmp_path), ["alba"], name)
    assert read.config == config
    assert read.weights["flow_lm.input_linear.weight"].shape == (config.flow_lm.transformer.d_model, 32)
    assert not any("encoder" in name for name in read.weights)
    assert read.voices[0].licence == "CC-BY-4.0"
    assert read.tokenizer.get_vocab_size() == 4000


@pytest.mark.parametrize(("name", "millions"), [("english", 100), ("english_2026-09_24l", 330)])
def test_knows_the_tensors_of_the_large_sizes(name: str, millions: int) -> None:
    spoken = {key: shape for key, shape in shapes(releases.release(name)).items() if "encoder" not in key}
    assert round(sum(int(np.prod(shape)) for shape in spoken.values()) / 1e7) == millions // 10


@pytest.mark.parametrize("name", releases.names())
def test_releases_say_what_the_package_says(name: str) -> None:
    package = pytest.importorskip("pocket_tts", reason="pocket-tts is not installed (make test brings it)")
    theirs = read_config(Path(package.__file__).parent / "config" / f"{name}.yaml")
    ours = releases.release(name)
    assert _plain(ours) == _plain(theirs)


def _plain(config: Any) -> Any:
    content = msgspec.to_builtins(config)
    for part, field in ((content, "weights_path"), (content, "weights_path_without_voice_cloning")):
        part.pop(field)
    content["flow_lm"]["lookup_table"].pop("tokenizer_path")
    return content


def test_tensors_are_those_of_the_package() -> None:
    pytest.importorskip("pocket_tts", reason="pocket-tts is not installed (make test brings it)")
    from tests.pocket.reference import build

    config = releases.release("english_7m_refl_2026-10")
    found = {name: tuple(value.shape) for name, value in build(config, None).state_dict().items()}
    assert found == shapes(config)


def test_older_voice_states_are_read_too(smallest: Path, tmp_path: Path) -> None:
    tensors = Tensors.of_file(smallest / "embeddings" / "alba.safetensors")
    older = {name.replace("offset", "current_end"): tensors.read(name) for name in tensors.names() if "pad" not in name}
    held = 41
    older = {name: torch.zeros(held) if "current_end" in name else value for name, value in older.items()}
    write(tmp_path / "mine.safetensors", older)
    voice = files.read(str(smallest), [str(tmp_path / "mine.safetensors")], voice_licence="CC0-1.0").voices[0]
    assert (voice.name, voice.licence, voice.positions) == ("mine", "CC0-1.0", held)


def test_sentencepiece_and_json_give_the_same_ids(smallest: Path) -> None:
    original = sentencepiece.SentencePieceProcessor(str(smallest / "tokenizer.model"))
    rewritten = files.read(str(smallest), ["alba"]).tokenizer
    for line in Path("README.md").read_text(encoding="utf-8").splitlines():
        found, wanted = rewritten.encode(line).ids, original.encode(line)
        if found != wanted:  # pieces of this vocabulary have equal scores: of two ways that tie each takes another
            scores = [sum(map(original.get_score, ids)) for ids in (found, wanted)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-6), line
            assert original.decode(found) == line, "the text is the same"


# -- refusals: each names the place, the value and what is right -----------------------------------------------------


def edited(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> Path:
    path = folder / files.CONFIG
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c.update(new_rule=True), ["unknown field `new_rule`"]),
        (lambda c: c["flow_lm"]["transformer"].pop("d_model"), ["flow_lm.transformer", "missing", "`d_model`"]),
        (lambda c: c["flow_lm"]["transformer"].update(num_heads="3"), ["transformer.num_heads", "`int`", "'3'"]),
        (lambda c: c["flow_lm"]["flow"].update(type="flow_matching"), ["'flow_matching' is not built", "pointwise"]),
        (lambda c: c["flow_lm"]["transformer"].update(num_heads=5), ["attn_dim 192 is not a multiple", "num_heads 5"]),
        (lambda c: c["flow_lm"]["lookup_table"].update(dim=9), ["lookup_table.dim 9 is not d_model 112"]),
        (lambda c: c["mimi"].update(frame_rate=13.0), ["frame_rate 13.0", "120 samples"]),
        (lambda c: c["mimi"].update(outer_dim=64), ["outer_dim 64", "[128]"]),
        (lambda c: c["mimi"]["decoder_seanet"].update(n_residual_layers=3), ["n_residual_layers", "(3)"]),
        (lambda c: c.update(pad_with_spaces_for_short_inputs=True), ["pad_with_spaces_for_short_inputs", "not built"]),
        (lambda c: c.update(replace_characters={"--": ","}), ["one character", "'--'"]),
        (lambda c: c.update(default_temperature=9), ["default_temperature", "<= 2", "(9)"]),
    ],
)
def test_configuration(copy: Path, edit: Callable[[dict[str, Any]], Any], words: list[str]) -> None:
    message = refusal(lambda: read_config(edited(copy, edit)))
    assert all(word in message for word in ["config.yaml", *words]), message


def test_configuration_that_is_no_yaml(copy: Path) -> None:
    (copy / files.CONFIG).write_text("a: [", encoding="utf-8")
    assert "config.yaml is not YAML" in refusal(lambda: files.read(str(copy), ["alba"]))
    assert "Expected `object`" in refusal(lambda: config_from([1], "there"))
    assert "no configuration at" in refusal(lambda: read_config(copy / "other.yaml"))


def test_a_model_that_is_not_known(copy: Path) -> None:
    (copy / files.CONFIG).unlink()
    assert "no model 'klingon' is known: english," in refusal(lambda: files.read(str(copy), ["alba"], "klingon"))


def rewritten(folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any], name: str = "model.safetensors") -> Path:
    tensors = Tensors.of_file(folder / name)
    content = {name: tensors.read(name) for name in tensors.names()}
    edit(content)
    write(folder / name, content)
    return folder


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop("flow_lm.bos_emb"), ["lacks", "flow_lm.bos_emb"]),
        (lambda t: t.update(extra=torch.zeros(1)), ["unknown", "extra"]),
        (lambda t: t.update({"flow_lm.bos_emb": torch.zeros(31)}), ["flow_lm.bos_emb", "[31]", "[32]"]),
        (lambda t: t["flow_lm.bos_emb"].fill_(float("nan")), ["flow_lm.bos_emb", "not finite"]),
    ],
)
def test_weights(copy: Path, edit: Callable[[dict[str, torch.Tensor]], Any], words: list[str]) -> None:
    message = refusal(lambda: files.read(str(rewritten(copy, edit)), ["alba"]))
    assert all(word in message for word in words), message


def test_weights_that_broke_off(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "truncated" in refusal(lambda: files.read(str(copy), ["alba"]))


def test_weights_of_another_size(copy: Path) -> None:
    message = refusal(lambda: files.read(str(copy), [], config=_config_of("english_7m_refl_2026-10", copy), hears=True))
    assert "lacks tensors: mimi.decoder_transformer" in message


def _config_of(name: str, folder: Path) -> Path:
    path = folder / "other.yaml"
    path.write_text(yaml.safe_dump(msgspec.to_builtins(releases.release(name))), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop("transformer.layers.3.self_attn/cache"), ["lacks transformer.layers.3.self_attn/cache"]),
        (lambda t: t.update({"transformer.layers.8.self_attn/cache": torch.zeros(1)}), ["another model's voice state"]),
        (lambda t: t["transformer.layers.0.self_attn/offset"].fill_(61), ["holds 61 positions", "60"]),
        (lambda t: t["transformer.layers.0.self_attn/offset"].fill_(59), ["[59, 60]", "one number up to 512"]),
        (lambda t: t.pop("transformer.layers.0.self_attn/offset"), ["offset", "counts its positions"]),
        (lambda t: t["transformer.layers.1.self_attn/cache"].fill_(float("inf")), ["not finite"]),
    ],
)
def test_voice_states(copy: Path, edit: Callable[[dict[str, torch.Tensor]], Any], words: list[str]) -> None:
    rewritten(copy, edit, "embeddings/alba.safetensors")
    message = refusal(lambda: files.read(str(copy), ["alba"]))
    assert all(word in message for word in words), message


def test_a_voice_of_another_size(copy: Path) -> None:
    other = releases.release("english_7m_refl_2026-10")
    write_voice(copy / "embeddings" / "alba.safetensors", other, np.random.default_rng(0))
    assert "[2, 1, 60, 2, 64], this model's are [2, 1, 'T', 1, 64]" in refusal(lambda: files.read(str(copy), ["alba"]))


def test_voices_and_their_licences(copy: Path) -> None:
    assert "embeddings/anna.safetensors (there are alba.safetensors, marius.safetensors)" in refusal(
        lambda: files.read(str(copy), ["anna"])
    )
    assert "licence of voice 'bob' is not known here" in refusal(lambda: files.read(str(copy), ["bob"]))
    assert "say its licence (--voice-licence)" in refusal(lambda: files.read(str(copy), ["mine.safetensors"]))
    assert "name at least one voice" in refusal(lambda: files.read(str(copy), []))


def test_tokenizers(copy: Path) -> None:
    path = copy / "tokenizer.model"
    path.write_bytes(b"nothing")
    assert "is no SentencePiece model" in refusal(lambda: files.read(str(copy), ["alba"]))
    path.write_bytes(sentencepiece_file([("<unk>", 0.0), ("▁", -1.0), ("a", -1.0)]))
    assert "has 3 tokens, the configuration says n_bins 4000" in refusal(lambda: files.read(str(copy), ["alba"]))
    path.unlink()
    assert "lacks tokenizer.model (there are config.yaml" in refusal(lambda: files.read(str(copy), ["alba"]))


_AS_JSON = {"tokenizer": "tokenizers", "tokenizer_path": "tokenizer.json"}


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("languages/mine/words.model", "words.model"),
        ("languages/other/tokenizer.model", "hf://kyutai/pocket-tts/languages/other/tokenizer.model@0123abc"),
        ("words.spm", "{root}/words.spm"),
        ("languages/mine/tokenizer.model", "hf://kyutai/pocket-tts/languages/lacking/tokenizer.model"),
    ],
)
def test_the_tokenizer_that_the_configuration_names(smallest: Path, tmp_path: Path, place: str, named: str) -> None:
    """Several models share one, which lies in another's folder."""
    folder = shutil.copytree(smallest, tmp_path / "languages" / "mine")
    original = (folder / "tokenizer.model").read_bytes()
    (folder / "tokenizer.model").write_bytes(b"another")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(original)
    path = named.format(root=tmp_path)
    edited(folder, lambda content: content["flow_lm"]["lookup_table"].update(tokenizer_path=path))
    assert files.read(str(tmp_path), ["alba"], "mine").tokenizer.get_vocab_size() == 4000


def test_a_tokenizer_that_is_named_and_lacks(copy: Path) -> None:
    edited(copy, lambda content: content["flow_lm"]["lookup_table"].update(tokenizer_path="/nowhere/words.model"))
    assert "names /nowhere/words.model, which is no file" in refusal(lambda: files.read(str(copy), ["alba"]))


def test_tokenizer_that_reads_words_by_what_follows(copy: Path) -> None:
    pieces = [("<unk>", 0.0), *((chr(code), -1.0) for code in range(32, 127)), ("dog over", -0.5)]
    pieces += [(f"{number}", -9.0) for number in range(10, 10 + 4000 - len(pieces))]
    Tokenizer(models.Unigram(pieces, 0, False)).save(str(copy / "tokenizer.json"))
    edited(copy, lambda content: content["flow_lm"]["lookup_table"].update(_AS_JSON))
    assert "reads words one by one otherwise than together" in refusal(lambda: files.read(str(copy), ["alba"]))


def test_tokenizers_of_another_kind(copy: Path) -> None:
    from sentencepiece import sentencepiece_model_pb2

    path = copy / "tokenizer.model"
    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())  # type: ignore[attr-defined]
    model.trainer_spec.treat_whitespace_as_suffix = True
    path.write_bytes(model.SerializeToString())
    assert "cannot be rewritten as tokenizer.json: 'The quick" in refusal(lambda: files.read(str(copy), ["alba"]))
    model.trainer_spec.model_type = model.trainer_spec.BPE
    path.write_bytes(model.SerializeToString())
    assert "of type 2, unigram (1) is right" in refusal(lambda: files.read(str(copy), ["alba"]))
    (copy / "tokenizer.json").write_text("{}")
    edited(copy, lambda content: content["flow_lm"]["lookup_table"].update(_AS_JSON))
    assert "tokenizer.json is no tokenizer.json: " in refusal(lambda: files.read(str(copy), ["alba"]))


def test_libraries_that_are_not_installed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sentencepiece", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, name, None)
    install = "in the checkout, pip install '.[export]'"
    assert f"needs sentencepiece: {install}" in refusal(lambda: files.read(str(copy), ["alba"]))
    assert f"needs huggingface_hub: {install}" in refusal(lambda: files.read("hf://kyutai/pocket-tts", ["alba"]))


def test_a_model_without_voices_of_its_own_is_known(copy: Path, tmp_path: Path) -> None:
    """Its voices are given as files: `embeddings` may lack, and the configuration too."""
    voice = str(shutil.copy(copy / "embeddings" / "alba.safetensors", tmp_path / "mine.safetensors"))
    shutil.rmtree(copy / "embeddings")
    assert files.has_layout(str(copy))
    assert files.read(str(copy), [voice], voice_licence="CC0-1.0").voices[0].name == "mine"
    (copy / files.CONFIG).unlink()
    assert files.has_layout(str(copy))
    (copy / "config.json").write_text("{}")
    assert not files.has_layout(str(copy)), "another family's"


def test_weights_are_fetched_last(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gigabytes are not to be fetched before a word about a voice."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("weights were read")

    monkeypatch.setattr(files, "read_weights", never)
    assert "embeddings/anna.safetensors" in refusal(lambda: files.read(str(copy), ["anna"]))
    assert "there is no file none.safetensors" in refusal(
        lambda: files.read("hf://kyutai/pocket-tts", ["none.safetensors"], voice_licence="CC0-1.0")
    )
    (copy / "tokenizer.model").unlink()
    assert "lacks tokenizer.model" in refusal(lambda: files.read(str(copy), ["alba"]))


def test_sources() -> None:
    assert "is no folder" in refusal(lambda: files.read("/nowhere", ["alba"]))
    assert "is no repository; hf://OWNER/REPOSITORY" in refusal(lambda: files.read("hf://kyutai", ["alba"]))


@pytest.mark.parametrize(
    ("kind", "words"), [("GatedRepoError", ["is gated", "hf auth login", "hf://kyutai/pocket-tts-without"]),
                        ("EntryNotFoundError", ["lacks languages/english/"]),
                        ("OSError", ["could not be downloaded: no route"])]
)  # fmt: skip
def test_the_hub(kind: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    def answer(*asked: Any, **more: Any) -> str:
        if kind == "OSError":
            raise OSError("no route")
        raise getattr(errors, kind).__new__(getattr(errors, kind))  # their constructors want a response of the hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", answer)
    message = refusal(lambda: files.read("hf://kyutai/pocket-tts", ["alba"]))
    assert all(word in message for word in words), message

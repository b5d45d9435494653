"""What earlier epochs have shown about each prompt, remembered by the hash of its text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from makespan.ranker.embedding_cache import text_key
from makespan.ranker.evidence import Drift
from makespan.ranker.length_shapes import LengthShapes
from makespan.ranker.parameters import Parameters
from makespan.ranker.prompt_groups import PromptGroups
from makespan.ranker.splits import in_order
from makespan.schedulers.types import BoolArray, FloatArray


@dataclass(slots=True, eq=False)
class History:
    """For every prompt seen, the log belief about its shape after the last policy version that answered it.

    The belief shrinks by itself: few samples move it little from what the text and all other prompts suggest, and from
    one version to the next the drift makes it wider again.

    Parameters
    ----------
    belief
        By hash of the prompt, shape (K,) each.
    version
        By hash of the prompt, the last version.
    """

    belief: dict[str, FloatArray]
    version: dict[str, str]

    @classmethod
    def of_groups(cls, groups: PromptGroups, shapes: LengthShapes, drift: Drift, text_prior: FloatArray) -> Self:
        """Go through the versions of the training data, the oldest first; `text_prior` has shape (G, K)."""
        history = cls({}, {})
        versions = np.array(groups.version)
        for version in in_order(set(groups.version)):
            now = versions == version
            history.learn(groups.take(now), shapes, drift, text_prior[now])
        return history

    def learn(self, groups: PromptGroups, shapes: LengthShapes, drift: Drift, text_prior: FloatArray) -> None:
        """Add what one version has shown."""
        prior = self.log_prior(groups.prompt, shapes, drift, text_prior)
        belief = prior + shapes.log_likelihood(groups)
        for row, (text, version) in enumerate(zip(groups.prompt, groups.version, strict=True)):
            key = text_key(text)
            self.belief[key] = belief[row] - belief[row].max()
            self.version[key] = version

    def knows(self, prompts: Sequence[str]) -> BoolArray:
        """Return which prompts were seen, shape (n,)."""
        return np.array([text_key(text) in self.belief for text in prompts], dtype=np.bool_)

    def log_prior(self, prompts: Sequence[str], shapes: LengthShapes, drift: Drift, text_prior: FloatArray) -> FloatArray:
        """Return log priors for the next version: from the history where there is one, else the text's. Shape (n, K)."""
        prior = text_prior.copy()
        known = np.flatnonzero(self.knows(prompts))
        if len(known):
            believed = np.stack([self.belief[text_key(prompts[row])] for row in known])
            prior[known] = drift.log_prior(shapes, believed)
        return prior

    def parameters(self) -> Parameters:
        """Return what is saved."""
        if not self.belief:
            return Parameters()
        keys = np.frombuffer(bytes.fromhex("".join(self.belief)), dtype=np.uint8).reshape(len(self.belief), -1)
        names = list(dict.fromkeys(self.version.values()))
        of_prompt = np.array([names.index(self.version[key]) for key in self.belief], dtype=np.float64)
        beliefs = np.stack(list(self.belief.values()))
        arrays: dict[str, NDArray[Any]] = {"keys": keys, "belief": beliefs, "version": of_prompt}
        return Parameters(arrays, {"versions": "\n".join(names)})

    @classmethod
    def of(cls, saved: Parameters) -> Self:
        """Rebuild from what was saved."""
        if "keys" not in saved.arrays:
            return cls({}, {})
        keys = [bytes(key.tolist()).hex() for key in saved.arrays["keys"]]
        names = saved.texts["versions"].split("\n")
        numbers = saved.array("version").astype(np.int64).tolist()
        return cls(
            dict(zip(keys, saved.array("belief"), strict=True)),
            {key: names[number] for key, number in zip(keys, numbers, strict=True)},
        )

"""Groups of samples drawn from a known law, for the tests of the ranker."""

import numpy as np

from makespan.ranker.prompt_groups import PromptGroups
from makespan.schedulers.types import FloatArray

TASKS = ("sum", "story", "proof", "list")


def drawn(
    prompts: int = 120, samples: int = 4, seed: int = 0, cap: int = 0, within: float = 0.4, version: str = ""
) -> tuple[PromptGroups, FloatArray]:
    """Return groups whose prompts name their task, and the true mean log length of each prompt."""
    rng = np.random.default_rng(seed)
    task = np.arange(prompts) % len(TASKS)
    size = rng.integers(1, 60, prompts)
    mean = 3 + task + 0.02 * size + 0.15 * rng.standard_normal(prompts)
    logs = np.repeat(mean, samples) + within * rng.standard_normal(prompts * samples)
    tokens = np.maximum(np.rint(np.exp(logs)), 1).astype(np.int64)
    capped = tokens >= cap if cap else np.zeros(len(tokens), dtype=np.bool_)
    groups = PromptGroups(
        prompt=[
            f"{TASKS[t]}: please do it in {n} words, number {k}." for k, (t, n) in enumerate(zip(task, size, strict=True))
        ],
        prompt_number=np.arange(prompts),
        prompt_tokens=10 + size,
        task=[TASKS[t] for t in task],
        domain=["even" if t % 2 == 0 else "odd" for t in task],
        version=[version] * prompts,
        samples=np.full(prompts, samples),
        output_tokens=np.minimum(tokens, cap) if cap else tokens,
        capped=capped,
        cap=np.full(prompts, cap),
        previous_tokens=np.full(prompts, np.nan),
    )
    return groups, mean

"""What groups must hold for a ranker to be trained on them."""

import numpy as np

from makespan.ranker.prompt_groups import PromptGroups

LEAST_PROMPTS = 20


def check_trainable(groups: PromptGroups) -> None:
    """Refuse groups from which nothing can be learned."""
    prompts = len(np.unique(groups.prompt_number))
    if prompts < LEAST_PROMPTS:
        raise ValueError(f"a ranker needs at least {LEAST_PROMPTS} different prompts, got {prompts}")
    if groups.capped.all():
        raise ValueError(f"some sample must have ended before its cap, got {len(groups.capped)} that were all cut off")
    if len(np.unique(groups.output_tokens)) == 1:
        raise ValueError(f"lengths must differ for a ranker to rank them, got {groups.output_tokens[0]} tokens everywhere")

"""A random model of a third of a million parameters that torch and vLLM load as any other."""

from pathlib import Path

from makespan.runtime.small_llama import LlamaShape, new_llama, publish_model
from makespan.runtime.small_tokenizer import train_tokenizer

CONTEXT = 512
WORDS = "State the final answer to the following arithmetic problem: 12 + 34 - 5 = 41\n"


def make_tiny_model(folder: Path, seed: int = 0, *, tied: bool = False) -> Path:
    """Write the model to `folder`, which must not exist, in well under a second.

    The weights are spread widely: log-probabilities differ from token to token by far more than rounding to bfloat16 does.
    """
    shape = LlamaShape(layers=2, width=128, heads=2, kv_heads=1, inner=256, context=CONTEXT, tied=tied, spread=0.1)
    tokenizer = train_tokenizer([WORDS] * 2, vocabulary=320, context=CONTEXT)
    return publish_model(new_llama(shape, tokenizer, seed=seed), tokenizer, folder)

"""The tokenizer of a small model: byte-level BPE that keeps digits apart, with a chat template."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
ANSWER_TAGS = ("<answer>", "</answer>")
"""One token each, but not special: text decoded without special tokens keeps them for the scorer."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{{{{ ('{ASSISTANT}' if message['role'] == 'assistant' else '{USER}') + message['content'] }}}}"
    f"{{% if message['role'] == 'assistant' %}}{{{{ '{END}' }}}}{{% endif %}}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{{{{ '{ASSISTANT}' }}}}{{% endif %}}"
)
BYTES = 256
LEAST_VOCABULARY = BYTES + len(ANSWER_TAGS) + 4


def train_tokenizer(texts: Iterable[str], *, vocabulary: int, context: int) -> Any:
    """Learn merges from `texts` and give a Hugging Face tokenizer that encodes any text.

    Parameters
    ----------
    texts
        What the model will read and write.
    vocabulary
        Most entries: 256 bytes, the special tokens, and merges for the rest.
    context
        Most tokens of a conversation, noted in the tokenizer.
    """
    if vocabulary < LEAST_VOCABULARY:
        raise ValueError(f"vocabulary must be at least {LEAST_VOCABULARY}, got {vocabulary}")
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    transformers: Any = import_module("transformers")

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(ANSWER_TAGS),
        special_tokens=[PAD, USER, ASSISTANT, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in ANSWER_TAGS])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )

"""Features that anyone can read off a prompt: sizes, format cues, verbs, numbers."""

import re
from collections.abc import Sequence

import numpy as np

from makespan.schedulers.types import FloatArray, IntArray

_MOST_CHARACTERS = 20_000

# A cue counts how often its pattern occurs in the lower-cased prompt.
_CUES = {
    "question_marks": r"\?",
    "exclamations": r"!",
    "digits": r"\d",
    "numbers": r"\d+(?:[.,]\d+)*",
    "newlines": r"\n",
    "blank_lines": r"\n\s*\n",
    "bullets": r"^\s*(?:[-*•]|\d+[.)])\s",
    "code_fences": r"```",
    "inline_code": r"`[^`\n]+`",
    "brackets": r"[\[\]{}]",
    "parentheses": r"\(",
    "quotes": r"[\"“”]",
    "colons": r":",
    "semicolons": r";",
    "commas": r",",
    "sentences": r"[.!?](?:\s|$)",
    "operators": r"[=<>+*/^%]",
    "latex": r"\\[a-z]+|\$",
    "urls": r"https?://",
    "grid_cells": r"\b[01xo.#]\b",
    "tags": r"</?\w+>",
    "function_words": r"\b(?:the|a|an|of|to|and|in|for|with|is|are|that)\b",
    "first_person": r"\b(?:i|my|me|i'm|we|our)\b",
    "second_person": r"\b(?:you|your)\b",
    "write": r"\b(?:write|compose|draft|create|generate|produce|design|develop)\b",
    "explain": r"\b(?:explain|describe|discuss|elaborate|tell me about|compare|analy[sz]e|evaluate)\b",
    "list": r"\b(?:list|enumerate|give me \d+|examples?|ideas|suggestions?|ways|tips|steps|reasons)\b",
    "long_forms": r"\b(?:essay|story|article|blog|report|script|letter|email|poem|song|speech|review|plan|guide|tutorial)\b",
    "program": r"\b(?:code|function|program|python|javascript|java|c\+\+|sql|html|regex|algorithm|class|implement)\b",
    "short_forms": r"\b(?:yes or no|true or false|one word|single word|short|brief(?:ly)?|concise(?:ly)?|only|just)\b",
    "detail": r"\b(?:detail(?:s|ed)?|in[- ]depth|comprehensive|thorough(?:ly)?|step[- ]by[- ]step|complete|full|long)\b",
    "summarise": r"\b(?:summari[sz]e|summary|tl;?dr|paraphrase|rewrite|rephrase|shorten|title)\b",
    "classify": r"\b(?:classify|categor\w+|label|identify|which|choose|select|pick|option)\b",
    "translate": r"\b(?:translat\w+|spanish|french|german|chinese|japanese|italian)\b",
    "table": r"\b(?:table|csv|json|xml|yaml|markdown|format)\b",
    "how": r"\bhow\b",
    "why": r"\bwhy\b",
    "what": r"\bwhat\b",
    "who_when_where": r"\b(?:who|when|where)\b",
    "how_many": r"\bhow (?:many|much|long|far|old)\b",
    "prove": r"\b(?:prove|proof|show that|derive|theorem|lemma)\b",
    "calculate": r"\b(?:calculate|compute|solve|simplify|find|determine|evaluate|sum|product|equation|integral)\b",
    "puzzle": r"\b(?:puzzle|grid|board|maze|sudoku|path|moves?|state|rules?|constraint\w*|sequence|pattern)\b",
    "recipe": r"\b(?:recipe|cook|ingredients?|meal|dinner|diet|workout|itinerary|trip|travel)\b",
    "conditions": r"\b(?:if|then|must|should|cannot|not|unless|without|except)\b",
    "answer_format": r"\b(?:answer|output|respond|reply|return|final)\b",
}
_PATTERNS = {name: re.compile(pattern, re.MULTILINE) for name, pattern in _CUES.items()}
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
_WISH = re.compile(r"(\d{1,5})[\s-]*(words?|sentences?|paragraphs?|pages?|lines?|items?|examples?|characters?)\b")
_TOKENS_OF = {
    "word": 1.3,
    "sentence": 25,
    "paragraph": 120,
    "page": 600,
    "line": 12,
    "item": 30,
    "example": 40,
    "character": 0.3,
}

NAMES = (
    "prompt_tokens",
    "characters",
    "words",
    "unique_words",
    "mean_word",
    "longest_word",
    "capitals",
    "letters",
    "names",
    "wished_tokens",
    "ends_with_question",
    "ends_with_colon",
    "number_of_most",
    "last_line_characters",
    *_PATTERNS,
)


def hand_features(prompts: Sequence[str], prompt_tokens: IntArray) -> FloatArray:
    """Return one row of features for each prompt, shape (n, len(NAMES)).

    Counts are taken as ``log(1 + count)``. Of a very long prompt the first and the last 10,000 characters are read.
    """
    rows = np.array([_row(text) for text in prompts], dtype=np.float64).reshape(len(prompts), len(NAMES) - 1)
    return np.concatenate([np.log1p(prompt_tokens.astype(np.float64))[:, None], rows], axis=1)


def _row(text: str) -> list[float]:
    size = len(text)
    if size > _MOST_CHARACTERS:
        text = text[: _MOST_CHARACTERS // 2] + text[-_MOST_CHARACTERS // 2 :]
    lower, words = text.lower(), text.split()
    lengths = [len(word) for word in words] or [0]
    ending = text.rstrip()
    numbers = [int(n) for n in re.findall(r"\b\d{1,6}\b", text)]
    sizes = [size, len(words), len(set(lower.split())), sum(lengths) / len(lengths), max(lengths)]
    letters = sum(map(str.isalpha, text))
    shares = [sum(map(str.isupper, text)) / max(letters, 1), letters / max(len(text), 1)]
    wished = max((int(n) * _TOKENS_OF[unit.rstrip("s")] for n, unit in _WISH.findall(lower)), default=0.0)
    return [
        *(float(np.log1p(value)) for value in sizes),
        *shares,
        float(np.log1p(len(_NAME.findall(text)))),
        float(np.log1p(wished)),
        float(ending.endswith("?")),
        float(ending.endswith(":")),
        float(np.log1p(max(numbers, default=0))),
        float(np.log1p(len(ending.rpartition("\n")[2]))),
        *(float(np.log1p(len(pattern.findall(lower)))) for pattern in _PATTERNS.values()),
    ]

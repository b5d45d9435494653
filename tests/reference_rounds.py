"""The rules between iterations once more, slowly and plainly: one token a second for everyone who runs, lists and loops."""

from dataclasses import dataclass, field
from math import ceil


@dataclass(eq=False)
class Sample:
    prompt: int
    length: int
    tokens: int = 0
    ended: float | None = None
    stopped: bool = False


@dataclass
class Outcome:
    """Prompts and lengths of each step, seconds of each round, tokens thrown away."""

    steps: list[list[tuple[int, int]]] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    wasted: int = 0


def complete(samples: list[Sample], responses: int) -> list[int]:
    """Return the prompts that have enough finished responses, oldest first."""
    prompts = sorted({s.prompt for s in samples})
    return [p for p in prompts if sum(s.prompt == p and s.ended is not None for s in samples) >= responses]


def play_slowly(rule: str, knob: float, lengths: list[list[int]], prompts: int, responses: int, cap: int) -> Outcome:
    """Play an epoch under ``exactly``, ``tail``, ``april``, ``kimi``, ``sorted`` or ``sorted_partial``."""
    out, held, following, clock = Outcome(), list[Sample](), 0, 0
    by_sample, keeps = rule.startswith("sorted"), rule in ("april", "kimi", "sorted_partial")

    def fresh(count: int, samples: int) -> list[Sample]:
        nonlocal following
        new = [
            Sample(p, lengths[p][k % len(lengths[p])])
            for p in range(following, min(following + count, len(lengths)))
            for k in range(samples)
        ]
        following = min(following + count, len(lengths))
        held.extend(new)
        return new

    while held or following < len(lengths):
        waiting, left = sorted({s.prompt for s in held}), len(lengths) - following
        wanted = min(prompts, len(waiting) + left)
        batch = step_of(held, by_sample, wanted, prompts, responses, left)
        if batch is not None:
            out.steps.append(sorted((s.prompt, s.length) for s in batch))
            leaving = batch if by_sample else [s for s in held if s.prompt in {b.prompt for b in batch}]
            out.wasted += sum(s.tokens for s in leaving if s not in batch)
            held[:] = [s for s in held if s not in leaving]
            if not keeps:
                out.wasted += sum(s.tokens for s in held)
                for s in held:
                    s.tokens, s.ended = 0, None
            continue
        unfinished, limit = [s for s in held if s.ended is None], cap
        short = rule == "tail" and len(waiting) < wanted <= left
        if short:
            issued = fresh(ceil(knob * wanted), ceil(knob * responses))
        elif rule == "tail":
            oldest = waiting[:wanted]
            issued = [s for p in oldest for s in [h for h in held if h.prompt == p][:responses]]
            issued += fresh(wanted - len(oldest), responses)
        elif rule == "april":
            issued = unfinished + fresh(max(0, ceil(knob * prompts) - len(waiting)), responses)
        elif by_sample:
            issued = unfinished + (fresh(int(knob) * prompts, responses) if not held else [])
        else:
            issued = unfinished + fresh(prompts, responses)
            limit = ceil(knob * cap) if rule == "kimi" else cap
        seconds = 0
        target = min(prompts * responses, len(held) + (len(lengths) - following) * responses)
        while not over(rule, issued, held, wanted, responses, target, limit, seconds):
            seconds += 1
            for s in issued:
                if s.ended is None and not s.stopped:
                    s.tokens += 1
                    s.ended = clock + seconds if s.tokens == s.length else None
            if rule == "tail":
                for s in issued:
                    s.stopped = s.ended is None and s.prompt in complete(issued, responses)
        for s in issued:
            s.stopped = False
        clock += seconds
        out.rounds.append(seconds)
    return out


def over(
    rule: str, issued: list[Sample], held: list[Sample], wanted: int, responses: int, target: int, limit: int, seconds: int
) -> bool:
    """Whether a round has ended."""
    if seconds == limit or all(s.ended is not None or s.stopped for s in issued):
        return True
    if rule in ("tail", "april"):
        return len(complete(held, responses)) >= wanted
    return rule.startswith("sorted") and sum(s.ended is not None for s in held) >= target


def step_of(
    held: list[Sample], by_sample: bool, wanted: int, prompts: int, responses: int, left: int
) -> list[Sample] | None:
    """Return the samples of the next step, None while there are too few."""
    done = [s for s in held if s.ended is not None]
    if by_sample:
        target = min(prompts * responses, len(held) + left * responses)
        return done[:target] if held and len(done) >= target else None
    ready = complete(held, responses)
    if not held or len(ready) < wanted:
        return None
    batch = []
    for p in ready[:wanted]:
        mine = sorted((s for s in done if s.prompt == p), key=lambda s: s.ended or 0)
        batch += mine[:responses]
    return batch

"""What the papers on rules between iterations claim, beside what the same rules give here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from makespan.harness.generators import K
from makespan.harness.reproduction import Figure, Reproduction
from makespan.harness.round_measures import RoundResult, measure
from makespan.harness.round_worlds import Setup, drawn, inform, tail_of_rollpacker
from makespan.harness.shapes import CodeMath
from makespan.runtime.rounds import RoundWorld, play
from makespan.schedulers.registry import load_round_policy
from makespan.schedulers.streaming_rules import StalenessBounded


@dataclass(frozen=True, slots=True)
class Given:
    """What the papers leave open.

    Parameters
    ----------
    rollout_share
        Share of a synchronous step that is generation; 0.7 is RollPacker's (0.66 to 0.72).
    beside_share
        The same for the papers that train beside generation; 0.9 is RhymeRL's (0.84 to above 0.95).
    requests_per_slot
        Samples of one step per batch slot.
    redraws
        Whether a sample that starts again is another draw.
    trainer_share
        Share of the instances that trains where training has its own.
    """

    rollout_share: float = 0.7
    beside_share: float = 0.9
    requests_per_slot: float = 1.0
    redraws: bool = True
    trainer_share: float = 0.25


OTHERWISE: Mapping[str, Callable[[Given], Given]] = {
    "generation is 80 % of a step": lambda g: replace(g, rollout_share=0.8, beside_share=0.8),
    "two samples a slot": lambda g: replace(g, requests_per_slot=2.0),
    "half a sample a slot": lambda g: replace(g, requests_per_slot=0.5),
    "a restart is as long as before": lambda g: replace(g, redraws=False),
    "half of the instances train": lambda g: replace(g, trainer_share=0.5),
}
SEVEN_B, THIRTY_TWO_B = "streamrl-7b-h800", "qwen3-32b-rtxpro6000-tp2"
NOTE = (
    "One seed, whole epochs, no stragglers left behind. Claims marked (up to) are the best of a paper's runs. "
    "Lengths, slots and the trainer's speed are ours where a paper gives none; the race shows what each gain costs in "
    "lengths and staleness."
)


def round_claims() -> Reproduction:
    """Return all claims under the default assumptions and under each changed one."""
    given = Given()
    changed = tuple((what, claims(change(given))) for what, change in OTHERWISE.items())
    return Reproduction("Rules between iterations: published gains", claims(given), changed, NOTE)


def claims(given: Given) -> tuple[Figure, ...]:
    """Return the figures of all papers."""
    figures = []
    for size, cap, profile, paper in (
        ("7B 8K", 8, SEVEN_B, 1.30),
        ("14B 16K", 16, SEVEN_B, 1.48),
        ("32B 32K", 32, THIRTY_TWO_B, 2.21),
    ):
        tail = (cap, profile, given)
        ratio = run(*tail, "synchronous").seconds_per_step / run(*tail, "tail_batching").seconds_per_step
        figures.append(Figure(f"RollPacker: step time, tail batching alone, {size}", paper, ratio))
    math, short = (0, SEVEN_B, given), (8, SEVEN_B, given)
    plain, april = run(*math, "synchronous"), run(*math, "april")
    throughput = april.tokens_per_generation_s / plain.tokens_per_generation_s
    figures.append(Figure("APRIL: rollout throughput, mean", 1.225, throughput))
    figures.append(Figure("APRIL: rollout throughput (up to), on RollPacker's tail", 1.44, _rollout(16, given, "april")))
    figures.append(Figure("APRIL: share of off-policy tokens", 0.40, april.off_policy_share))
    plain = run(*short, "synchronous")
    for name, bubble, faster in (("sorted_rl", 0.0581, 1.0757), ("sorted_rl_partial", 0.0337, 1.3948)):
        mine, mode = run(*short, name), "partial" if name.endswith("partial") else "on-policy"
        if mode == "on-policy":
            figures.append(Figure("SortedRL: bubble of the baseline", 0.74, plain.slot_bubble))
        figures.append(Figure(f"SortedRL: bubble, {mode}", bubble, mine.slot_bubble))
        ratio = mine.tokens_per_generation_s / plain.tokens_per_generation_s
        figures.append(Figure(f"SortedRL: rollout throughput, {mode}", faster, ratio))
    beside = replace(given, rollout_share=given.beside_share)
    for paper, what, name in (
        (2.77, "AReaL: throughput (up to), eta 8, on RollPacker's tail", "areal"),
        (2.24, "ROLL Flash: throughput (up to), alpha 1", "roll_flash"),
        (5.48, "Laminar: throughput (up to), without repacking", "laminar_drain"),
    ):
        ratio = run(16, SEVEN_B, beside, name).samples_per_s / run(16, SEVEN_B, beside, "synchronous").samples_per_s
        figures.append(Figure(what, paper, ratio))
    for what, cap in (("code and mathematics 20K", 0), ("RollPacker's tail", 16)):
        ratio = run(cap, SEVEN_B, beside, "histo_pipe").samples_per_s / run(cap, SEVEN_B, beside, "one_step").samples_per_s
        figures.append(Figure(f"RhymeRL: both tiers over one step ahead, {what}", 1.43 * 1.10, ratio))
    return tuple(figures)


def _rollout(cap: int, given: Given, name: str) -> float:
    plain, mine = run(cap, SEVEN_B, given, "synchronous"), run(cap, SEVEN_B, given, name)
    return mine.tokens_per_generation_s / plain.tokens_per_generation_s


@lru_cache
def _world(cap: int, profile: str, given: Given) -> RoundWorld:
    shape = tail_of_rollpacker(cap * K) if cap else CodeMath(20_000)
    setup = Setup("claims", drawn(shape), profile, given.requests_per_slot, rollout_share=given.rollout_share)
    world = setup.world(0)
    return replace(world, stream=replace(world.stream, redraws=given.redraws))


@lru_cache
def run(cap: int, profile: str, given: Given, name: str) -> RoundResult:
    """Play one policy on RollPacker's tail with a cap of so many K, or on code and mathematics (0)."""
    world, policy = _world(cap, profile, given), load_round_policy(name)
    if policy.trainer_share:
        policy = replace(policy, trainer_share=given.trainer_share)
    if name == "areal":
        policy = replace(policy, between=StalenessBounded(8))
    information = policy.information[0] if policy.information else "none"
    played = play(policy, world, inform(information, world.stream))
    return measure("claims", name, information, 0, world, played, policy.course == "barrier")

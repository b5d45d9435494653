"""What a race says, in plain sentences."""

from math import ceil, floor

from makespan.harness.contenders import Contender
from makespan.harness.races import Race

SMALL = 0.03
"""Headroom below which there is nothing worth winning."""


def headline(race: Race) -> str:
    """Say who won with how much information, and how much anybody could."""
    blind, guess, oracle = race.best_blind, race.best_guess, race.best_oracle
    parts = []
    if blind is not None and blind.of(lambda run: run.speedup_over_fifo).median < 1.001:
        parts.append("Without any information no policy is even 0.1 % faster than fifo.")
    elif blind is not None:
        parts.append(f"Best policy without any information: {blind.policy}, {_speed(blind)} than fifo.")
    if guess is not None:
        parts.append(f"Best with partial information: {guess.name}, {_speed(guess)}.")
    if oracle is not None:
        parts.append(f"Best with oracle: {oracle.policy}, {_speed(oracle)}.")
    parts.append(f"Nothing can be more than {most(race)} faster than fifo.")
    return " ".join(parts)


def regime(race: Race) -> str:
    """Say under which load the race was run, and whether there is anything to win."""
    run, tail = race.any_run, race.tail_ratio
    load = (
        f"Requests per batch slot: {run.requests_per_slot:.3g} ({run.requests:,} requests on {run.instances} instances "
        f"of batch {run.max_batch}). Longest output: {tail:.1f} times the mean."
    )
    return f"{load} {headroom(race)}"


def headroom(race: Race) -> str:
    """Say what even a perfect policy could win over fifo, and why where that is next to nothing."""
    saved = f"{100 * race.headroom:.1f} %"
    if race.headroom >= SMALL:
        return f"Headroom {saved}: no policy can save more of fifo's makespan than that or be more than {most(race)} faster."
    per_slot, tail = race.any_run.requests_per_slot, race.tail_ratio
    if per_slot <= 1:
        reason = "no queue forms: there is a batch slot for every request"
    elif tail > per_slot:
        reason = "the longest request dominates: it alone has more tokens than a batch slot generates on average"
    else:
        reason = "there is so much work for each slot that fifo already keeps the instances busy to the end"
    return f"Headroom {saved}: there is (nearly) nothing to win here, because {reason}."


def most(race: Race) -> str:
    """Return the proven limit of any speed-up over fifo, rounded so that the claim stays true."""
    return _percent(race.fifo_gap - 1, up=True)


def _speed(contender: Contender) -> str:
    faster = contender.of(lambda run: run.speedup_over_fifo).median - 1
    return f"{_percent(faster)} faster" if faster >= 0 else f"{_percent(-faster, up=True)} slower"


def _percent(share: float, *, up: bool = False) -> str:
    """Return a share as a percentage of about two digits, rounded down or `up`."""
    step = 1 if share >= 0.1 else 10
    scaled = 100 * share * step
    # Without the margin 12.000000000000002 would be called 13.
    whole = ceil(scaled - 1e-9) if up else floor(scaled + 1e-9)
    return f"{whole / step:,.1f} %".replace(".0 %", " %")

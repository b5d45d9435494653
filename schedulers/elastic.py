"""When generation gets another data-parallel unit, or gives one back, as output lengths drift."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True, slots=True)
class ElasticRule:
    """StreamRL's dynamic adjustment (arXiv 2504.15930, section 7.3), its reverse, hysteresis and the price of a change.

    With D the generation time less the training time of an iteration and s the seconds one more unit would save, a unit is
    added when ``D > threshold * s``. The paper describes growth only; a unit is given back when the slack ``-D`` exceeds
    ``threshold * (1 + hysteresis)`` times what generation would lose. Either change must be worth `change_s`.

    Parameters
    ----------
    threshold
        Share of the saving that the gap must exceed, at least 1/2: below that a step would leave the stages further apart
        and constant input could go back and forth. 1 never makes generation the faster stage.
    hysteresis
        By how much more than growth shrinking asks, not negative.
    change_s
        Seconds that a change costs, not negative.
    horizon
        Iterations over which a change must pay, at least 1.
    least, most
        Units that generation always keeps, and may reach.
    """

    threshold: float = 1.0
    hysteresis: float = 0.25
    change_s: float = 0.0
    horizon: int = 10
    least: int = 1
    most: int = 2**31

    def __post_init__(self) -> None:
        if not (isfinite(self.threshold) and self.threshold >= 0.5):
            raise ValueError(f"the threshold of an elastic rule must be at least 0.5, got {self.threshold}")
        for name in ("hysteresis", "change_s"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {getattr(self, name)}")
        if self.horizon < 1:
            raise ValueError(f"a change must pay over at least 1 iteration, got {self.horizon}")
        if not 1 <= self.least <= self.most:
            raise ValueError(f"units must be at least 1 and at most {self.most}, got at least {self.least}")

    def next_units(self, units: int, generation_s: float, training_s: float, estimate: Callable[[int], float]) -> int:
        """Return how many units generation should have from now on: `units`, one more or one fewer.

        Parameters
        ----------
        units
            Present units.
        generation_s, training_s
            Seconds of the stages in the last iteration.
        estimate
            P_gen: seconds of generation on a number of units. Only its ratios are used, so that it may be off by a factor.
        """
        if not (generation_s > 0 and training_s > 0):
            raise ValueError(f"stages must take positive time, got {generation_s} s and {training_s} s")
        gap, least_gain = generation_s - training_s, self.change_s / self.horizon
        if units < self.most and gap > 0:
            saved = generation_s * (1 - estimate(units + 1) / estimate(units))
            return units + 1 if gap > self.threshold * saved and saved > least_gain else units
        if units > self.least and gap < 0:
            lost = generation_s * (estimate(units - 1) / estimate(units) - 1)
            slack = -gap - least_gain
            return units - 1 if slack > self.threshold * (1 + self.hysteresis) * lost else units
        return units

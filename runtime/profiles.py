"""Step-time profiles: what an engine on some hardware was measured to be, one JSON file each."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Self

from makespan.schedulers.instances import BLOCK_TOKENS, Instance
from makespan.schedulers.prefill_step_time import PrefillStepTime
from makespan.schedulers.registry import unknown_name
from makespan.schedulers.step_time import StepTime

SHIPPED = Path(__file__).parents[1] / "datasets" / "profiles"


@dataclass(frozen=True, slots=True)
class Profile:
    """An engine as measured.

    Parameters
    ----------
    name
        What it is called in results.
    step_time
        How long its steps take.
    kv_capacity_tokens, max_batch, max_batched_tokens
        As of `Instance`; the batch limit is the largest batch that was measured.
    source
        Where the numbers come from, and which of them are arithmetic.
    mape
        Mean absolute percentage error of the fit as a fraction, or None where nothing was fitted.
    """

    name: str
    step_time: StepTime
    kv_capacity_tokens: int
    max_batch: int
    max_batched_tokens: int
    source: str
    mape: float | None = None

    def __post_init__(self) -> None:
        for field in ("name", "source"):
            if not getattr(self, field):
                raise ValueError(f"{field} must not be empty, got ''")
        if self.mape is not None and not (isfinite(self.mape) and self.mape >= 0):
            raise ValueError(f"mape must be finite and not negative, got {self.mape}")
        Instance(self.step_time, self.kv_capacity_tokens, self.max_batch, self.max_batched_tokens)

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Self:
        """Build a profile from the object in its file."""
        known = {*_NUMBERS, "name", "running", "seconds", "source", "prefill_steps", "padded_kv_share"}
        unknown = sorted(set(content) - known)
        if unknown:
            raise ValueError(f"{unknown[0]} is no field of a profile; they are {', '.join(sorted(known))}")
        values = {name: _number(content, name, kind) for name, kind in _NUMBERS.items() if name != "mape"}
        if values["block_tokens"] != BLOCK_TOKENS:
            raise ValueError(f"block_tokens must be {BLOCK_TOKENS}, got {values['block_tokens']}")
        return cls(
            name=_text(content, "name"),
            step_time=StepTime(
                _listed(content, "running", int),
                _listed(content, "seconds", float),
                values["seconds_per_kv_token"],
                values["seconds_per_prefill_token"],
                prefill_steps_of_json(content["prefill_steps"]) if "prefill_steps" in content else None,
                _number(content, "padded_kv_share", float) if "padded_kv_share" in content else 0.0,
            ),
            kv_capacity_tokens=values["kv_capacity_tokens"],
            max_batch=values["max_batch"],
            max_batched_tokens=values["max_batched_tokens"],
            source=_text(content, "source"),
            mape=None if content.get("mape") is None else _number(content, "mape", float),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the object for its file."""
        step = asdict(self.step_time)
        if self.step_time.prefill_steps is None:
            del step["prefill_steps"]
        rest = {name: value for name, value in asdict(self).items() if name not in ("name", "step_time")}
        content: dict[str, Any] = json.loads(json.dumps({"name": self.name, **step, "block_tokens": BLOCK_TOKENS, **rest}))
        return content

    def instance(self, max_batch: int | None = None, kv_capacity_tokens: int | None = None) -> Instance:
        """Return an instance of this kind, perhaps with another batch limit or KV capacity."""
        batch = self.max_batch if max_batch is None else max_batch
        return Instance(
            self.step_time,
            self.kv_capacity_tokens if kv_capacity_tokens is None else kv_capacity_tokens,
            batch,
            # An engine can always compute one token of each running request.
            max(self.max_batched_tokens, batch),
        )


def prefill_steps_of_json(content: object) -> PrefillStepTime:
    """Build the law of prefill steps from its object in a profile."""
    numbers = ("seconds_per_decode", "seconds_per_kv_token", "seconds_per_pair")
    if not isinstance(content, dict):
        raise ValueError(f"prefill_steps must be an object, got {content!r}")
    unknown = sorted(set(content) - {*numbers, "tokens", "seconds"})
    if unknown:
        raise ValueError(f"{unknown[0]} is no field of prefill_steps; they are tokens, seconds, {', '.join(numbers)}")
    table = _listed(content, "tokens", int), _listed(content, "seconds", float)
    return PrefillStepTime(*table, *(_number(content, name, float) for name in numbers))


def profile_names() -> list[str]:
    """Return the names of the shipped profiles in alphabetical order."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def load_profile(name_or_path: str | Path) -> Profile:
    """Return a shipped profile by its name, or one from a file ``PATH.json``."""
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and path.name == name_or_path and path.suffix != ".json":
        if name_or_path not in profile_names():
            raise unknown_name("profile", name_or_path, profile_names())
        path = SHIPPED / f"{name_or_path}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"a profile must be a JSON object, got {type(content).__name__}")
        return Profile.of_json(content)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: a profile must be valid JSON, got {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


_NUMBERS: dict[str, type[int] | type[float]] = {
    "seconds_per_kv_token": float,
    "seconds_per_prefill_token": float,
    "kv_capacity_tokens": int,
    "max_batch": int,
    "max_batched_tokens": int,
    "block_tokens": int,
    "mape": float,
}


def _number(content: Mapping[str, Any], field: str, kind: type[int] | type[float]) -> Any:
    return _is(kind, content.get(field), field)


def _listed(content: Mapping[str, Any], field: str, kind: type[int] | type[float]) -> Any:
    values = content.get(field)
    if not isinstance(values, list):
        raise ValueError(f"{field} must be a list of numbers, got {values!r}")
    return tuple(_is(kind, value, f"{field}[{index}]") for index, value in enumerate(values))


def _text(content: Mapping[str, Any], field: str) -> str:
    if not isinstance(content.get(field), str):
        raise ValueError(f"{field} must be a text, got {content.get(field)!r}")
    return str(content[field])


def _is(kind: type[int] | type[float], value: Any, field: str) -> Any:
    if type(value) is int or (kind is float and type(value) is float):
        return kind(value)
    raise ValueError(f"{field} must be a {'whole number' if kind is int else 'number'}, got {value!r}")

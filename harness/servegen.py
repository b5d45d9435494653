"""ServeGen's clients: production requests published as distributions, from which a workload is drawn."""

import ast
import json
import tarfile
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from makespan.harness.workload import Workload
from makespan.schedulers.requests import Requests
from makespan.schedulers.types import FloatArray, IntArray

DEFAULT_REQUESTS = 1024
HISTOGRAM_SECONDS = 21_600


def servegen(path: str | None, requests: int | None, seed: int) -> Workload:
    """Draw requests of ServeGen's DeepSeek-R1 clients, a .tar.gz of ``chunk-N-trace.csv`` and ``chunk-N-dataset.json``.

    Each request stems from a client and a window of ten minutes, drawn by the client's rate in it; its prompt and its output
    are drawn from the client's histograms for that part of the day, one independent of the other, as they are published.
    All requests arrive at once, as the prompts of a generation stage do; the published arrival processes are not used. The
    cap is the longest output that the histograms drawn from hold.
    """
    if path is None:
        raise ValueError("workload servegen needs a path, servegen=PATH, got none")
    count = DEFAULT_REQUESTS if requests is None else requests
    if count < 1:
        raise ValueError(f"workload servegen needs at least one request, got a wish for {count}")
    traces, datasets = _members(Path(path))
    windows = [(client, start, rate) for client in sorted(traces) for start, rate in _rates(traces[client], client, path)]
    rates = np.array([rate for _, _, rate in windows])
    if not rates.sum() > 0:
        raise ValueError(f"{path}: at least one window must have a rate above 0, got none of {len(windows)}")
    random = np.random.default_rng(seed)
    drawn = random.choice(len(windows), size=count, p=rates / rates.sum())
    parts = [(windows[window][0], windows[window][1] // HISTOGRAM_SECONDS * HISTOGRAM_SECONDS) for window in drawn.tolist()]
    prompts, outputs = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    cap = 1
    for client, start in sorted(set(parts)):
        rows = [row for row, part in enumerate(parts) if part == (client, start)]
        place = f"{path}, chunk-{client}-dataset.json, window {start}"
        histograms = datasets.get(client, {}).get(str(start), {})
        prompts[rows] = _Histogram.parse(histograms, "input_tokens", place).draw(random, len(rows))
        lengths = _Histogram.parse(histograms, "output_tokens", place)
        outputs[rows] = lengths.draw(random, len(rows))
        cap = max(cap, int(lengths.tokens.max()))
    return Workload(
        name="servegen",
        requests=Requests.of(prompts, np.full(count, cap)),
        output_tokens=outputs,
        source=f"Drawn from {len(traces)} clients of alibaba/ServeGen (production DeepSeek-R1, 24 hours), Apache-2.0.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Histogram:
    """Token counts and their probabilities."""

    tokens: IntArray
    shares: FloatArray

    @classmethod
    def parse(cls, histograms: dict[str, Any], field: str, place: str) -> "_Histogram":
        """Read the text of a Python dictionary."""
        try:
            content = ast.literal_eval(histograms[field])
            tokens, shares = list(content), np.array(list(content.values()), dtype=np.float64)
        except (KeyError, ValueError, TypeError, AttributeError, SyntaxError, RecursionError):
            tokens, shares = [], np.zeros(0)
        valid = all(type(count) is int and count >= 1 for count in tokens) and (shares >= 0).all()
        if not (valid and 0 < shares.sum() < np.inf):
            raise ValueError(f"{place}: {field} must map token counts of at least 1 to probabilities, got something else")
        return cls(np.array(tokens, dtype=np.int64), shares / shares.sum())

    def draw(self, random: np.random.Generator, count: int) -> IntArray:
        """Draw token counts."""
        drawn: IntArray = random.choice(self.tokens, size=count, p=self.shares)
        return drawn


def _members(path: Path) -> tuple[dict[int, str], dict[int, dict[str, Any]]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    traces: dict[int, str] = {}
    datasets: dict[int, dict[str, Any]] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                chunk, _, what = Path(member.name).name.removeprefix("chunk-").partition("-")
                stream = archive.extractfile(member) if chunk.isdigit() else None
                if stream is not None and what == "trace.csv":
                    traces[int(chunk)] = stream.read().decode()
                elif stream is not None and what == "dataset.json":
                    datasets[int(chunk)] = json.loads(stream.read())
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path}: the content must be a .tar.gz of ServeGen clients, got {error}") from None
    if not traces:
        raise ValueError(f"{path}: at least one chunk-N-trace.csv is needed, got none")
    return traces, datasets


def _rates(trace: str, client: int, path: str) -> list[tuple[int, float]]:
    windows = []
    for line, row in enumerate(trace.splitlines(), start=1):
        try:
            start, rate = (float(cell) for cell in row.split(",")[:2])
        except ValueError:
            start, rate = -1.0, -1.0
        if not (isfinite(start) and start >= 0 and isfinite(rate) and rate >= 0):
            place = f"{path}, chunk-{client}-trace.csv, line {line}"
            raise ValueError(f"{place}: a row must start with a second and a rate, got {row}")
        windows.append((int(start), rate))
    return windows

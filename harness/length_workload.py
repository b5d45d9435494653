"""Length data as a workload: every sample is a request, the samples of one prompt are a group."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from makespan.harness.workload import Workload
from makespan.ranker.length_data import LengthData, LengthPath, read_lengths
from makespan.schedulers.requests import Requests


def length_workload(
    path: str | Path, name: str, requests: int | None = None, seed: int = 0, *, previous_samples: int = 0
) -> Workload:
    """Read length data as a workload.

    Agentic work is one request: what tools and users sent between its turns is prefilled with the prompt, and its turns
    follow each other without a gap. Where the file gives no cap, the longest output is the cap.

    Parameters
    ----------
    path
        As for `read_lengths`, with a selector or without.
    name
        What the workload is called in results.
    requests
        How many to take, whole groups in a seeded order; all where it is None. More than there are is an error.
    seed
        Seed of that order.
    previous_samples
        The last so many samples of each row are not requests but an earlier epoch: their mean is `previous_tokens`.
        ``previous=1`` in the path says the same, and prevails.
    """
    chosen = LengthPath.parse(path)
    chosen = replace(chosen, previous_samples=chosen.previous_samples or previous_samples)
    data = read_lengths(chosen)
    row = data.row
    caps = np.where(data.cap == 0, data.output_tokens.max(), data.cap)
    told = np.isfinite(data.previous_tokens).any()
    whole = Workload(
        name=name,
        requests=Requests.of(
            (data.prompt_tokens + data.observed_tokens)[row],
            caps[row],
            group=data.group[row],
            arrival=data.arrival[row],
        ),
        output_tokens=data.output_tokens,
        source=_source(data),
        previous_tokens=data.previous_tokens[row] if told else None,
        prompts=_prompts(data),
    )
    return whole if requests is None else whole.choose(requests, seed)


def lengths(path: str | None, requests: int | None, seed: int) -> Workload:
    """Any length data."""
    if path is None:
        raise ValueError("workload lengths needs a path, lengths=PATH, got none")
    return length_workload(path, "lengths", requests, seed)


def _prompts(data: LengthData) -> tuple[str, ...] | None:
    texts = [text for text in data.prompt if text is not None]
    return tuple(texts[row] for row in data.row) if len(texts) == len(data) else None


def _source(data: LengthData) -> str:
    parts = [f"Lengths in {data.path.file.name}", data.path.choice]
    if data.malformed:
        parts.append(f"malformed rows left out: {data.malformed}")
    if (data.turns > 1).any():
        parts.append("all turns of a trajectory taken as one request")
    return ", ".join(part for part in parts if part) + "."

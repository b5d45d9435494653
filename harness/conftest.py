"""The options of `pytest harness/ --benchmark`, its progress bar, and the report at its end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from makespan.harness.agreement import agreements
from makespan.harness.agreement import for_terminal as for_terminal_agreement
from makespan.harness.errors import EXIT_CODE, USER_ERRORS, one_line
from makespan.harness.headlines import regime
from makespan.harness.race_options import RaceOptions
from makespan.harness.races import sections
from makespan.harness.real_options import MINUTES, REPETITIONS, RealOptions
from makespan.harness.report import write_report
from makespan.harness.reproduction import Reproduction, write_reproductions
from makespan.harness.reproduction import for_terminal as reproduction_tables
from makespan.harness.round_table import RoundRow, write_rounds
from makespan.harness.round_table import for_terminal as round_tables
from makespan.harness.speed import Speed, write_speeds
from makespan.harness.store import clear_records, read_records
from makespan.harness.table import for_terminal, wide_console

if TYPE_CHECKING:
    from makespan.harness.real_bench import RealBench

OPTIONS = pytest.StashKey[RaceOptions | RealOptions]()
BAR = pytest.StashKey[Progress]()
SPEEDS = pytest.StashKey[list[Speed]]()
REPRODUCTIONS = pytest.StashKey[list[Reproduction]]()
WITHOUT_DATA = pytest.StashKey[int]()
ROUNDS = pytest.StashKey[list[RoundRow]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("makespan")
    group.addoption("--benchmark", action="store_true", help="run the benchmarks")
    group.addoption("--workload", action="append", metavar="NAME[=PATH]", help="workload to race on; repeatable")
    group.addoption("--policy", action="append", metavar="NAME", help="policy to race; repeatable; default: all installed")
    group.addoption("--information", action="append", metavar="NAME", help="information source; repeatable")
    group.addoption("--profile", action="append", metavar="NAME", help="step-time profile; repeatable")
    group.addoption("--requests-per-slot", action="append", type=float, metavar="X", help="oversubscription; repeatable")
    group.addoption("--seeds", type=int, default=1, help="how many seeds")
    group.addoption("--instances", type=int, help="how many instances")
    group.addoption("--requests", type=int, help="how many requests; default: all there are")
    group.addoption("--engine", choices=["simulated", "vllm"], default="simulated", help="what executes the requests")
    group.addoption("--repetitions", type=int, default=REPETITIONS, help="real engine: how often every policy is run")
    group.addoption("--cap", type=int, default=None, help="real engine: most tokens of an output, whatever time it takes")
    group.addoption("--minutes", type=float, default=MINUTES, help="real engine: how long all may take, unless --cap")
    group.addoption("--model", metavar="FOLDER", help="real engine: Hugging Face model; default: SmolLM2-135M")
    group.addoption("--ray-address", metavar="HOST:PORT", help="real engine: Ray cluster; default: this machine")
    group.addoption("--data", metavar="FOLDER", help="public length data for the ranker's benchmarks")
    group.addoption("--out", default="results/latest", help="folder for records and report")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options before anything is collected."""
    if not config.getoption("--benchmark"):
        return
    # Our report takes the place of pytest-benchmark's table, unless that is asked for.
    config.option.benchmark_quiet = config.option.verbose <= 0
    try:
        real = config.getoption("--engine") == "vllm"
        options = (RealOptions if real else RaceOptions).from_options(config.getoption)
        data = config.getoption("--data")
        if data is not None and not Path(data).is_dir():
            raise NotADirectoryError(f"--data must be a folder, got {data}")
        clear_records(options.out)
    except USER_ERRORS as error:
        pytest.exit(f"error: {one_line(error)}", returncode=EXIT_CODE)
    config.stash[OPTIONS] = options


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip benchmarks unless they are asked for; on real engines there is nothing but the race."""
    if config.getoption("--benchmark"):
        if config.getoption("--engine") == "vllm":
            items[:] = [item for item in items if "real_contest" in getattr(item, "fixturenames", ())]
        if config.getoption("--data") is None:
            without = [item for item in items if "data" in getattr(item, "fixturenames", ())]
            items[:] = [item for item in items if item not in without]
            config.stash[WITHOUT_DATA] = len(without)
            config.hook.pytest_deselected(items=without)
        return
    skip = pytest.mark.skip(reason="needs --benchmark")
    for item in items:
        if item.get_closest_marker("bench"):
            item.add_marker(skip)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one benchmark of every contest."""
    if "contest" in metafunc.fixturenames:
        options = metafunc.config.stash.get(OPTIONS, None)
        contests = list(options.contests()) if isinstance(options, RaceOptions) else []
        metafunc.parametrize("contest", contests, ids=str)
    if "real_contest" in metafunc.fixturenames:
        options = metafunc.config.stash.get(OPTIONS, None)
        runs = list(options.contests()) if isinstance(options, RealOptions) else []
        metafunc.parametrize("real_contest", runs, ids=str)


@pytest.fixture(scope="session")
def race_options(request: pytest.FixtureRequest) -> RaceOptions:
    """The options of this run."""
    options = request.config.stash[OPTIONS]
    assert isinstance(options, RaceOptions)
    return options


@pytest.fixture(scope="session")
def real_options(request: pytest.FixtureRequest) -> RealOptions:
    """The options of this run on real engines."""
    options = request.config.stash[OPTIONS]
    assert isinstance(options, RealOptions)
    return options


@pytest.fixture(scope="session")
def rig(real_options: RealOptions) -> Iterator["RealBench"]:
    """The instances, up and measured."""
    # Only this benchmark needs Ray and vLLM.
    from makespan.harness.real_bench import real_bench

    chosen = real_options
    with ExitStack() as until_the_end:
        try:
            bench = until_the_end.enter_context(
                real_bench(
                    chosen.load(),
                    instances=chosen.instances,
                    max_batch=chosen.max_batch,
                    seed=chosen.seed,
                    model=chosen.model,
                    ray_address=chosen.ray_address,
                    budget=chosen.budget,
                )
            )
        except USER_ERRORS as error:
            pytest.exit(f"error: {one_line(error)}", returncode=EXIT_CODE)
        yield bench


@pytest.fixture
def data(request: pytest.FixtureRequest) -> Path:
    """The folder of public length data; what needs it is left out where it is not given."""
    return Path(request.config.getoption("--data"))


@pytest.fixture
def speeds(request: pytest.FixtureRequest) -> Callable[[Speed], None]:
    """Take down a speed figure."""
    return request.config.stash.setdefault(SPEEDS, []).append


@pytest.fixture
def reproductions(request: pytest.FixtureRequest) -> Callable[[Reproduction], None]:
    """Take down published figures beside ours."""
    return request.config.stash.setdefault(REPRODUCTIONS, []).append


@pytest.fixture
def round_rows(request: pytest.FixtureRequest) -> Callable[[RoundRow], None]:
    """Take down what a round policy gave in one world."""
    return request.config.stash.setdefault(ROUNDS, []).append


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Show a progress bar on standard error while benchmarks run."""
    console = Console(file=sys.__stderr__)
    if not session.config.getoption("--benchmark") or not console.is_terminal:
        return (yield)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        bar.add_task("racing", total=len(session.items))
        session.config.stash[BAR] = bar
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Advance the bar."""
    bar = item.config.stash.get(BAR, None)
    if bar is not None:
        bar.update(bar.task_ids[0], advance=1, description=item.name[:60])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report of what has finished, also after Ctrl-C."""
    options = session.config.stash.get(OPTIONS, None)
    if options is not None:
        records = read_records(options.out) if (options.out / "records").is_dir() else []
        if records:
            write_report(records, options.out)
        if isinstance(options, RaceOptions) and options.refused:
            session.exitstatus = EXIT_CODE
        if isinstance(options, RealOptions) and session.exitstatus == 0 and options.never_run(records):
            session.exitstatus = EXIT_CODE
    if speeds := session.config.stash.get(SPEEDS, []):
        write_speeds(speeds, session.config.stash[OPTIONS].out)
    if found := session.config.stash.get(REPRODUCTIONS, []):
        write_reproductions(found, session.config.stash[OPTIONS].out)
    if rows := session.config.stash.get(ROUNDS, []):
        write_rounds(rows, session.config.stash[OPTIONS].out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables and where the report lies."""
    options = config.stash.get(OPTIONS, None)
    if options is None:
        return
    records = read_records(options.out) if (options.out / "records").is_dir() else []
    console = wide_console()
    for section in sections(records) if records else ():
        for race in section.races:
            console.print(f"{section.title}: {regime(race)}", highlight=False)
        console.print(for_terminal(section))
    for agreement in agreements(records):
        console.print(for_terminal_agreement(agreement))
        console.print(str(agreement), highlight=False)
    for reproduction in config.stash.get(REPRODUCTIONS, []):
        console.print(*reproduction_tables(reproduction))
    played: list[RoundRow] = config.stash.get(ROUNDS, [])
    console.print(*round_tables(played))
    for line in config.stash.get(SPEEDS, []):
        terminalreporter.write_line(str(line))
    if left_out := config.stash.get(WITHOUT_DATA, 0):
        terminalreporter.write_line(f"{left_out} benchmarks on public length data were left out; --data FOLDER runs them")
    if isinstance(options, RealOptions) and (late := len(terminalreporter.stats.get("skipped", ()))):
        never = options.never_run(records)
        none_at_all = f", and no run at all was made of {', '.join(never)}" if never else ""
        terminalreporter.write_line(
            f"{late} runs did not fit into --minutes {options.minutes:g}{none_at_all}; "
            "give more minutes, or name fewer policies with --policy"
        )
    if records:
        terminalreporter.write_line(f"report: {options.out / 'report.html'}")

"""The command `makespan report`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from makespan.harness.cli_output import AsJson


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a benchmark's results.")], as_json: AsJson = False
) -> None:
    """Write the pages of a folder of results again, and print its tables."""
    from makespan.harness.agreement import agreements
    from makespan.harness.agreement import for_terminal as table_of_agreement
    from makespan.harness.headlines import regime
    from makespan.harness.races import sections
    from makespan.harness.report import write_report
    from makespan.harness.store import read_records
    from makespan.harness.table import for_terminal, wide_console

    records = read_records(folder)
    page = write_report(records, folder)
    if as_json:
        print(json.dumps({"report": str(page), "records": len(records)}))
        return
    for section in sections(records):
        for race in section.races:
            print(f"{section.title}: {regime(race)}")
        wide_console().print(for_terminal(section))
    for agreement in agreements(records):
        wide_console().print(table_of_agreement(agreement))
        print(agreement)
    print(f"report: {page}")

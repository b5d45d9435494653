"""The command line `makespan`."""

import sys

import typer

from makespan.harness import (
    catalog_commands,
    measuring_commands,
    planning_commands,
    ranker_commands,
    report_command,
    training_commands,
)
from makespan.harness.errors import EXIT_CODE, USER_ERRORS, one_line

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Decide which LLM rollout runs where and when, and say how far that is from the proven optimum.",
)
# In these files what is heavy is imported where it is used: worker processes that start a real engine import them again,
# and compiled code must not be loaded before the engine.
for _command in (
    catalog_commands.policies,
    catalog_commands.workloads,
    planning_commands.simulate,
    planning_commands.allocate,
    planning_commands.sweep,
    measuring_commands.record,
    measuring_commands.calibrate,
    measuring_commands.replay,
    measuring_commands.foretell,
    training_commands.pretrain,
    training_commands.train,
    report_command.report,
):
    app.command()(_command)
app.add_typer(ranker_commands.app, name="ranker")


def main() -> None:
    """Run the command line; a user's error is one line and exit code 2."""
    try:
        app()
    except USER_ERRORS as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(EXIT_CODE)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)

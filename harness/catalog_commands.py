"""The commands that list what is installed: `policies` and `workloads`."""

from makespan.harness.cli_output import AsJson, show_rows
from makespan.harness.errors import one_line
from makespan.schedulers import registry


def policies(as_json: AsJson = False) -> None:
    """List the policies that are installed."""
    rows = []
    for name in registry.policies.names():
        try:
            policy = registry.load_policy(name)
            rows.append({"policy": name, "information": list(policy.information), "source": policy.source})
        except registry.BrokenPlugin as error:
            rows.append({"policy": name, "information": [], "source": f"broken: {one_line(error)}"})
    show_rows(rows, as_json, "Policies")


def workloads(as_json: AsJson = False) -> None:
    """List the workloads that are installed; any length data can be given as NAME=PATH."""
    rows = []
    for name in registry.workloads.names():
        try:
            load = registry.workloads.load(name)
            words = getattr(load, "source", None) or (load.__doc__ or "").strip().split("\n")[0]
            rows.append({"workload": name, "what": words})
        except registry.BrokenPlugin as error:
            rows.append({"workload": name, "what": f"broken: {one_line(error)}"})
    show_rows(rows, as_json, "Workloads")

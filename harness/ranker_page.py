"""The page about a measured ranker: one HTML file that needs nothing else to be read."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from makespan.harness import ranker_pictures
from makespan.harness.ranker_measurement import Measurement
from makespan.harness.ranker_table import HEADINGS, TITLES, probe_rows, rows
from makespan.harness.store import write_whole


def write_page(found: Measurement, path: Path) -> Path:
    """Write the page and return its path."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = [
        ("The longest prompts", ranker_pictures.recall_curve(found, "recall"), _RECALL),
        ("Promise and coverage", ranker_pictures.calibration(found, "calibration"), _CALIBRATION),
        ("Predicted and true", ranker_pictures.predicted_and_true(found, "scatter"), _SCATTER),
    ]
    page = environment.get_template("ranker.html.j2").render(
        found=found,
        pictures=[(title, Markup(svg), words) for title, svg, words in pictures],
        tables=[(title, list(HEADINGS.values()), list(rows(found, target))) for target, title in TITLES.items()],
        probes=list(probe_rows(found)),
        probe_headings=list(HEADINGS.values())[:8],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page)
    return path


_RECALL = (
    "Of the longest p % of the prompts, the share that is among the predicted longest p %. "
    "Dashed: a perfect prompt-only ranker."
)
_CALIBRATION = (
    "Samples below each promised quantile, by thirds of the prediction. On the dotted line the intervals keep their promise."
)
_SCATTER = "One dot per prompt, its predicted median; the grey lines are the 80 % intervals of its samples."

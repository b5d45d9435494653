"""`makespan ranker train` and `makespan ranker evaluate`."""

import json
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from makespan.harness.cli_output import AsJson, ProgressBar
from makespan.harness.defaults import ENCODER

app = typer.Typer(no_args_is_help=True, help="Train a ranker of output lengths on your data, and learn how good it is.")

Data = Annotated[str, typer.Argument(help="Length data: PATH or PATH#field=value, as for a workload.")]


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder to save the ranker and its page in.")],
    encoder: Annotated[
        str, typer.Option(help="none, minilm, smollm2, a folder of a chat model, or several joined by +.")
    ] = ENCODER,
    seed: Annotated[int, typer.Option(help="Of folds and learners.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a ranker, measure it on prompts that it had not seen (five folds), and save it."""
    from makespan.harness.encoder_choice import make_encoder, vectors
    from makespan.harness.ranker_measurement import measure_training
    from makespan.harness.ranker_page import write_page
    from makespan.ranker.length_data import read_lengths
    from makespan.ranker.length_ranker import LengthRanker
    from makespan.ranker.model_folder import save_ranker
    from makespan.ranker.prompt_groups import PromptGroups
    from makespan.ranker.trainable import check_trainable

    started = perf_counter()
    # What can be refused is refused before minutes of training.
    if seed < 0:
        raise ValueError(f"a seed must be at least 0, got {seed}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out must be a folder, got the file {out}")
    groups = PromptGroups.of(read_lengths(data))
    check_trainable(groups)
    chosen = make_encoder(encoder)
    with ProgressBar("prompts encoded") as bar:
        embedding = vectors(chosen, groups.prompt, bar)
    with ProgressBar("models fitted") as bar:
        ranker = LengthRanker.fit(groups, embedding, encoder, chosen.name, seed, progress=bar)
    found = measure_training(ranker, groups, data, perf_counter() - started)
    save_ranker(ranker, out, found.facts())
    page = write_page(found, out / "training.html")
    _report(found, page, as_json)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of a trained ranker.")],
    data: Data,
    out: Annotated[Path | None, typer.Option(help="Page to write; by default evaluation.html in the folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a saved ranker on other data: unseen prompts by their text, known ones with their history."""
    from makespan.harness.encoder_choice import make_encoder, vectors
    from makespan.harness.ranker_measurement import measure
    from makespan.harness.ranker_page import write_page
    from makespan.ranker.length_data import read_lengths
    from makespan.ranker.model_folder import load_ranker
    from makespan.ranker.prompt_groups import PromptGroups

    started = perf_counter()
    ranker = load_ranker(folder)
    groups = PromptGroups.of(read_lengths(data))
    encoder = make_encoder(ranker.encoder)
    ranker.check_encoder(encoder.name)
    with ProgressBar("prompts encoded") as bar:
        embedding = vectors(encoder, groups.prompt, bar)
    found = measure(ranker, groups, embedding, data, started)
    page = write_page(found, out or folder / "evaluation.html")
    _report(found, page, as_json)


def _report(found: Any, page: Path, as_json: bool) -> None:
    from makespan.harness.ranker_table import for_terminal
    from makespan.harness.table import wide_console

    if as_json:
        print(json.dumps(found.as_json() | {"report": str(page)}, allow_nan=False))
        return
    print(found.headline)
    for table in for_terminal(found):
        wide_console().print(table)
    print(f"report: {page}")

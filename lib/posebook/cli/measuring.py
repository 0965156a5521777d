"""Commands that measure: scores of predictions, groups of joints, the claims of the ledger."""

from __future__ import annotations

import functools

import click

from posebook.cli.common import duration, friendly


@click.command()
@click.option(
    "--dataset",
    type=click.Choice(["mpii", "lip", "lsp", "flic", "atr", "pascal"]),
    default="mpii",
    show_default=True,
    help="Whose rules, joints and labels; label maps are of lip, atr or pascal.",
)
@click.option(
    "--annotations",
    help="MPII's or FLIC's .h5, MPII's .mat, .json or .csv, LIP's .csv, LSP's joints.mat.",
)
@click.option(
    "--predictions",
    help=".h5 or .mat: preds, people x joints x 2 in any order of axes; .csv: in each line a photograph and x, y or "
    "x, y, v of each joint.",
)
@click.option(
    "--centric",
    type=click.Choice(["person", "observer"]),
    default="person",
    show_default=True,
    help="Left and right: the person's own, or the image's.",
)
@click.option("--parsing", help="In place of joints: a folder of predicted label maps, PNG; with --labels.")
@click.option(
    "--labels",
    help="The folder of the true label maps, of the same names. Those of atr have its 18 labels, and predictions LIP's "
    "20: the 16 of both are scored.",
)
@click.option("--tags", help="LIP's challenges of each image, .csv, to score each of them by itself.")
@click.option("--check", is_flag=True, help="Say what is wrong with the folder of --parsing, and score nothing.")
@click.option("--jobs", default=-1, help="Processes that read label maps.  [default: all cores]")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@friendly
def score(
    dataset: str,
    annotations: str | None,
    predictions: str | None,
    centric: str,
    parsing: str | None,
    labels: str | None,
    tags: str | None,
    check: bool,
    jobs: int,
    as_json: bool,
) -> None:
    """Score predicted joints, or predicted label maps: the tables that papers print.

    Joints are --predictions against --annotations, label maps --parsing against --labels.
    """
    if parsing or labels or check:
        if annotations or predictions or not (parsing and labels):
            raise ValueError("label maps are scored with --parsing and --labels together, and without files of joints")
        _score_label_maps(dataset, parsing, labels, tags, check, jobs, as_json)
        return
    if dataset in ("atr", "pascal"):
        raise ValueError(f"of {dataset} label maps are scored, and no joints: give --parsing and --labels")
    if tags and dataset != "lip":
        raise ValueError(f"--tags has the challenges of LIP's images, and the joints are of {dataset}: leave it out")
    if not (annotations and predictions):
        raise ValueError("give --annotations and --predictions to score joints, or --parsing and --labels")
    import json

    from posebook.datasets.census import read_tags
    from posebook.evaluation.benchmarks import render, report
    from posebook.evaluation.files import read_predictions, read_truth

    truth = read_truth(annotations, dataset)
    told = functools.partial(click.echo, err=True)
    predicted = read_predictions(predictions, *truth.presence.shape, truth.names, told)
    if tags and truth.names is None:
        raise ValueError(f"{annotations} does not name its images, which --tags are matched by: give LIP's .csv")
    challenges = read_tags(tags, truth.names) if tags else None
    result = report(predicted, truth, dataset, centric, challenges)
    click.echo(json.dumps(result, indent=2) if as_json else render(result))


def _score_label_maps(
    dataset: str, parsing: str, labels: str, tags: str | None, check: bool, jobs: int, as_json: bool
) -> None:
    import json

    from posebook.datasets.census import read_tags
    from posebook.evaluation import label_maps
    from posebook.skeleton import ATR_PARTS, PARTS, PASCAL_PARTS

    # The labels of predicted and of true maps.
    known = {"lip": (PARTS, PARTS), "atr": (PARTS, ATR_PARTS), "pascal": (PASCAL_PARTS, PASCAL_PARTS)}
    if dataset not in known:
        raise ValueError(f"label maps of {dataset} are not known: give --dataset {', '.join(known)}")
    parts, true_parts = known[dataset]
    if check:
        faults = label_maps.check(parsing, labels, parts, jobs, true_parts=true_parts)
        click.echo(json.dumps(faults, indent=2) if as_json else "\n".join(faults) or "All label maps can be scored.")
        if faults:
            raise ValueError(f"{parsing} cannot be scored as it is: {len(faults):,} faults")
        return
    pairs = label_maps.match(parsing, labels)
    challenges = read_tags(tags, [path.name for _, path in pairs]) if tags else None
    matrices = label_maps.count(pairs, parts, jobs, true_parts=true_parts)
    result = label_maps.report(matrices, label_maps.scored(parts, true_parts), challenges)
    click.echo(json.dumps(result, indent=2) if as_json else label_maps.render(result))


@click.command()
@click.option(
    "--poses",
    "paths",
    multiple=True,
    required=True,
    help="MPII's .mat, .h5 or .csv, LSP's or LSPET's joints.mat, LIP's .csv; may be given again.",
)
@click.option("--window", type=float, help="Side of the lattice.  [default: box 2.5, annotated 1.5, torso 6, head 10]")
@click.option(
    "--normalise",
    type=click.Choice(["box", "annotated", "torso", "head"]),
    default="box",
    show_default=True,
    help="The window's unit: the pose's longer side, the set's own window, torso or head length.",
)
@click.option("--groups", default=5, show_default=True, help="How many groups.")
@click.option("--lattice", default=16, show_default=True, help="Cells per side.")
@click.option("--corrected", is_flag=True, help="Take off the information that few poses show by chance.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@friendly
def groups(paths: tuple[str, ...], as_json: bool, **options) -> None:
    """Group joints by how much their places tell about each other, over the poses in annotation files."""
    import json

    from posebook.datasets.poses import group_report, render

    report = group_report(paths, **options)
    click.echo(json.dumps(report, indent=2) if as_json else render(report))


@click.command()
@click.option("--claims", multiple=True, help="Claims, or papers, between commas.  [default: all]")
@click.option("--seeds", default=8, show_default=True, type=click.IntRange(1, 8), help="How many seeds: 0, 1, ...")
@click.option("--budget", help="Begin nothing that would not end in this time: 90m, 2h, 45s.  [default: no end]")
@click.option("--profile", default="study", show_default=True, help="quick, study or paper (GPU, real sets).")
@click.option(
    "--dataset",
    default="figures",
    show_default=True,
    help="figures, lsp, lspet, mpii, lip, pascal, flic or ccp.",
)
@click.option("--data-root", help="Folder of a real set.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda; auto takes a GPU where there is one.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="How many runs train at a time.")
@click.option("--cluster", help="Address of a Dask scheduler whose workers train them, in place of --jobs.")
@click.option("--runs", help="Folder of the runs, which claims share.  [default: runs/ledger]")
@click.option("--results", help="Folder of readings and pictures.  [default: results]")
@click.option("--list", "as_list", is_flag=True, help="Train nothing: print what is known.")
@click.option("--draw", is_flag=True, help="Draw what is known: a picture per paper, and one of all.")
@click.option("--markdown", is_flag=True, help="Write what is known as README.md into the results.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per claim, and all else to stderr.")
@friendly(stopped="what was measured is stored, and the same command goes on where it was")
def ledger(
    claims: tuple[str, ...],
    budget: str | None,
    cluster: str | None,
    runs: str | None,
    results: str | None,
    as_list: bool,
    draw: bool,
    markdown: bool,
    as_json: bool,
    **options,
) -> None:
    """What the papers claim, measured: trains runs that are missing and tells what follows from all there are.

    Each run is stored as it ends, in results/readings: what was trained is not trained again, a ledger that was stopped
    goes on where it was, and the files of several machines become one by putting one behind the other.

    The default folders are the repository's. Where posebook is installed without it, they are in the current folder,
    and what was measured begins with the readings that ship.
    """
    import json
    import math
    from pathlib import Path

    from posebook.compute.cluster import on_cluster
    from posebook.ledger.markdown import write_markdown
    from posebook.ledger.measure import measure
    from posebook.ledger.picture import draw_ledger
    from posebook.ledger.readings import OWN
    from posebook.ledger.runs import RUNS
    from posebook.ledger.verdicts import read_rows, render
    from posebook.papers import select
    from posebook.paths import check_writable

    say = functools.partial(click.echo, err=as_json)
    named = [name.strip() for names in claims for name in names.split(",") if name.strip()]
    if claims and not named:
        raise ValueError(f"--claims is '{claims[0]}', which names none: give claims or papers, or leave it out for all")
    chosen = select(named)
    place = Path(results or OWN)
    if draw or markdown:
        check_writable(place)
    if as_list or draw or markdown:
        rows = read_rows(chosen, place / "readings")
    else:
        seconds = math.inf if budget is None else duration(budget)
        given = {"budget": seconds, "runs": runs or RUNS, "folder": place / "readings", "say": say}
        with on_cluster(cluster) as workers:
            options["jobs"] = workers or options["jobs"]
            rows = measure(chosen, **options | given)
    if as_json:
        for row in rows:
            click.echo(json.dumps(row.as_json(), allow_nan=False))
    elif not (draw or markdown):
        click.echo(f"\n{render(rows)}" if rows else "No claim has been measured here.")
    if draw:
        drawn = draw_ledger(chosen, place / "readings", place)
        say(f"Pictures: {', '.join(map(str, drawn))}" if drawn else "No picture: no claim has been measured here.")
    if markdown:
        say(f"Wrote {write_markdown(select(), place)}")

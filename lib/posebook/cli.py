"""The `posebook` command. Each command imports what it needs when it runs, so that `posebook --help` is quick."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable

import click


def _friendly(function: Callable | None = None, *, stopped: str = "") -> Callable:
    """Turn the errors that a person can meet into one sentence without a traceback. Goes below `@click.option`s.

    Ctrl-C and the signals that stop a process end it with a sentence too, and with the status that shells give them:
    128 and the signal's number. An empty text, which a script with an unset variable gives, is refused: it is no name,
    and not the default.

    Args:
        stopped: what is left of work that was stopped, and how it goes on.
    """
    if function is None:
        return functools.partial(_friendly, stopped=stopped)

    @functools.wraps(function)
    def wrapper(*arguments, **options):
        from posebook.compute.ending import ignore_signals, signals_stop

        try:
            for name, value in options.items():
                if value == "" or (isinstance(value, tuple) and "" in value):
                    raise ValueError(f"{name.replace('_', '-')} is given, and is empty: give it, or leave it out")
            with signals_stop():
                return function(*arguments, **options)
        except BrokenPipeError:  # `posebook ... | head`: who read has had enough, and click ends quietly
            raise
        except (ValueError, OSError, ModuleNotFoundError) as error:
            raise click.ClickException(_sentence(error)) from error
        except KeyboardInterrupt as error:
            ignore_signals()  # a second Ctrl-C is not to end what is ending in a traceback
            number = getattr(error, "number", signal.SIGINT)
            called = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            click.echo(f"\nStopped by {called}{': ' * bool(stopped)}{stopped}", err=True)
            sys.exit(128 + number)

    return wrapper


def _sentence(error: Exception) -> str:
    """An error in words; the system's own with the file that it is about, and without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror
    return str(error)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="posebook")
def main() -> None:
    """Learn and reproduce research on human pose estimation."""


@main.group()
def data() -> None:
    """Real sets: list, check, describe, fetch, pack."""


@data.command("list")
def data_list() -> None:
    """The real sets, what they hold, and how to get them."""
    from posebook.datasets.sets import SETS

    for name, about in SETS.items():
        get = f"posebook data fetch {name} ROOT" if about.archives else f"go to {about.site} and {about.how}"
        click.echo(f"{name}: {about.title}, {about.holds}. Get it: {get}.")


@data.command("check")
@click.argument("name")
@click.argument("root")
@_friendly
def data_check(name: str, root: str) -> None:
    """Open every file of the set NAME in the folder ROOT, and say what is missing or broken.

    For a file that `pack` wrote, NAME is "packed" and ROOT is the file.
    """
    from posebook.datasets.sets import check

    fine, sentence = check(name, root)
    if not fine:
        raise click.ClickException(sentence)
    click.echo(sentence)


@data.command("describe")
@click.argument("name")
@click.argument("root")
@click.option(
    "--split", type=click.Choice(["train", "validation", "test"]), help="Only this split.  [default: all there are]"
)
@click.option("--output", help="Draw it into this file, PNG.")
@click.option("--tags", help="Write LIP's challenges of each image into this file, .csv, for `posebook score --tags`.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@_friendly
def data_describe(name: str, root: str, split: str | None, output: str | None, tags: str | None, as_json: bool) -> None:
    """Count the images that each part occurs in, and LIP's challenges, in the set NAME in the folder ROOT.

    NAME is lip, ccp or pascal: sets with part labels.
    """
    import json
    from pathlib import Path

    from posebook.datasets.census import census, render, write_tags
    from posebook.paths import check_writable

    if tags and name != "lip":
        raise ValueError(f"challenges are of LIP's people, and {name} has none: leave out --tags, or give lip")
    for option, ending, path in (("--output", ".png", output), ("--tags", ".csv", tags)):
        if path and Path(path).suffix.lower() != ending:
            raise ValueError(f"{option} is {path}; give a file that ends in {ending}")
        if path:
            check_writable(Path(path).parent)
    found = census(name, root, split)
    if tags and not found.back_view:
        raise ValueError(f"{root} has no label maps of LIP, so that nothing tells who is seen from behind: no {tags}")
    click.echo(json.dumps(found.as_json(), indent=2) if as_json else render(found))
    if tags:
        write_tags(tags, found.names, found.tags)
    if output:
        from posebook.pictures.census import save_census

        save_census(output, found)


@data.command("fetch")
@click.argument("name")
@click.argument("root")
@click.option("--part", help="Only this part of a set that comes in several: annotations or images.")
@click.option("--from", "url", help="Another address to take the archive from.")
@click.option("--sha256", help="What the archive's SHA-256 must be.")
@_friendly(stopped="what came is kept where it can be taken up again: the same command goes on from there")
def data_fetch(name: str, root: str, part: str | None, url: str | None, sha256: str | None) -> None:
    """Download the set NAME into the folder ROOT; the same again goes on where it broke off."""
    from posebook.datasets.fetch import fetch

    there = fetch(name, root, part, url, sha256)
    click.echo(f"{name}: {' and '.join(map(str, there))} are there. Now: posebook data check {name} {root}")


@data.command("pack")
@click.argument("name")
@click.argument("root")
@click.argument("out")
@click.option("--size", default=256, show_default=True, help="Side of the crops in pixels, their margin apart.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(["train", "validation", "test"]),
    help="Only this split; may be given again.  [default: all]",
)
@_friendly(stopped="nothing was written, and the same command begins anew")
def data_pack(name: str, root: str, out: str, size: int, splits: tuple[str, ...]) -> None:
    """Crop the people of the set NAME in the folder ROOT once into the file OUT, which training reads much faster."""
    from posebook.datasets.packed import check, pack
    from posebook.sample import SPLITS

    click.echo(check(pack(name, root, out, size, splits or SPLITS)))


@main.command()
@click.argument("notebooks", nargs=-1, metavar="[NOTEBOOK]...")
@click.option("--profile", default="quick", show_default=True, help="quick, study (minutes) or paper (real sets).")
@click.option(
    "-p", "--parameter", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a notebook's parameter."
)
@click.option("--output", default="runs", show_default=True, help="Folder for executed notebooks and their index.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="How many run at a time.")
@click.option("--cluster", help="Address of a Dask scheduler whose workers run them, in place of --jobs.")
@click.option(
    "--to",
    type=click.Choice(["html", "slides"]),
    default="html",
    show_default=True,
    help="What is written of each: a web page, or slides beside it. Both open without a network.",
)
@_friendly(stopped="what was executed is kept, and the same command executes all of it again")
def run(
    notebooks: tuple[str, ...],
    profile: str,
    parameters: tuple[tuple[str, str], ...],
    output: str,
    jobs: int,
    cluster: str | None,
    to: str,
) -> None:
    """Execute notebooks (all of posebook's, where none is named) and write what came out, with an HTML index.

    A NOTEBOOK runs in its own folder. A folder stands for all notebooks within it.
    """
    from pathlib import Path

    from posebook.compute.cluster import on_cluster
    from posebook.notebooks.headless import run as run_notebooks

    folder = Path(output).resolve()
    with on_cluster(cluster) as workers:
        done = run_notebooks(notebooks, profile, dict(parameters), folder, workers or jobs, to == "slides")
    for notebook in done:
        click.echo(f"{notebook.seconds:5.0f} s  {notebook.file.relative_to(folder)}: {notebook.summary}")
    click.echo(f"Index of what was executed: {folder / 'index.html'}")


@main.command()
@click.argument("names", nargs=-1, metavar="[PAGE]...")
@click.option("--port", default=8866, show_default=True, type=click.IntRange(1, 65535), help="Port of the server.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser; the address is printed.")
@_friendly
def demo(names: tuple[str, ...], port: int, no_browser: bool) -> None:
    """Serve pages of the notebooks' sliders, without code: a PAGE is a paper's name, start_here or ledger.

    Without any, all of them, with a list. Ctrl-C ends it.
    """
    import tempfile
    from pathlib import Path

    from posebook.notebooks.demo import serve

    with tempfile.TemporaryDirectory(prefix="posebook-demo-") as folder:
        server = serve(names, Path(folder), port, not no_browser)
        try:
            code = server.wait()
        except KeyboardInterrupt as error:
            if getattr(error, "number", signal.SIGINT) != signal.SIGINT:
                server.terminate()
            server.wait()  # it was interrupted too, and ends its kernels
            code = 0
    if code:
        raise click.ClickException(f"the server of the pages ended (status {code}): what it said stands above")


@main.group()
def notebooks() -> None:
    """The notebooks: copy them to where they are studied, make them tidy. (`posebook run` executes them.)"""


@notebooks.command("copy")
@click.argument("folder", metavar="DIR")
@_friendly
def notebooks_copy(folder: str) -> None:
    """Copy the notebooks and their glossary into the folder DIR; overwrites nothing that differs."""
    import shlex
    from importlib.util import find_spec

    from posebook.notebooks.course import copy

    click.echo(f"{len(copy(folder))} files are in {folder}. Now:")
    if find_spec("jupyterlab") is None:
        click.echo("  pip install 'posebook[study]'")
    click.echo(f"  jupyter lab {shlex.quote(folder)}")


@notebooks.command("tidy")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--check", is_flag=True, help="Change nothing; name the notebooks that are not tidy, and fail if any.")
@_friendly
def notebooks_tidy(paths: tuple[str, ...], check: bool) -> None:
    """Write the links of notebooks (all of them, where none is named), and remove what makes differences noisy.

    A PATH is a notebook, or a folder of them. Links are the row that each notebook starts with, references to sections
    and notebooks, and first uses of the glossary's terms. Removed are records of when cells ran, the state of widgets,
    and the version of Python.
    """
    import os

    from posebook.notebooks.tidy import tidy

    changed = tidy(paths, write=not check)
    for path in changed:
        click.echo(os.path.relpath(path))
    if check and changed:
        raise click.ClickException(f"{len(changed)} of the notebooks are not tidy: run `posebook notebooks tidy`")


@main.command()
@click.argument("model")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="One of the network's settings.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@_friendly
def describe(model: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """The parts of the network MODEL: output shapes for one image, parameters, multiply-adds, and the totals."""
    import json

    import torch

    from posebook.evaluation.describe import describe as describe_network
    from posebook.evaluation.describe import table
    from posebook.papers import create, parse_settings

    with torch.device("meta"):  # shapes without numbers
        description = describe_network(create(model, **parse_settings(model, assignments)))
    click.echo(json.dumps(description, indent=2) if as_json else table(description))


@main.command()
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
@_friendly
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


@main.command()
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
@click.option("--lattice", default=16, show_default=True, help="Cells a side.")
@click.option("--corrected", is_flag=True, help="Take off the information that few poses show by chance.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@_friendly
def groups(paths: tuple[str, ...], as_json: bool, **options) -> None:
    """Group joints by how much their places tell about each other, over the poses in annotation files."""
    import json

    from posebook.datasets.poses import group_report, render

    report = group_report(paths, **options)
    click.echo(json.dumps(report, indent=2) if as_json else render(report))


@main.group()
def prior() -> None:
    """The pose prior: fit it to annotations, check it against them."""


@prior.command("fit")
@click.argument("annotations", nargs=-1, required=True, metavar="ANNOTATIONS...")
@click.option("--output", default="data/pose_prior.safetensors", show_default=True, help="Where the prior goes.")
@click.option("--components", default=96, show_default=True, type=click.IntRange(min=1), help="Gaussians in it.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of its k-means.")
@_friendly
def prior_fit(annotations: tuple[str, ...], output: str, components: int, seed: int) -> None:
    """Fit the pose prior to the complete poses in MPII's .csv, .h5 or .mat files.

    Who is in several of the files counts once.
    """
    from pathlib import Path

    from posebook.datasets.prior import complete_poses, fit
    from posebook.paths import check_writable

    check_writable(Path(output).parent)

    poses = complete_poses(annotations)
    click.echo(f"Fitting {components} components to {len(poses):,} poses and their mirror images: a minute or two ...")
    fit(poses, components, seed).save(output)
    click.echo(f"Wrote {output}; `posebook prior check --prior {output}` compares it with the poses.")


@prior.command("check")
@click.option("--prior", "path", default=None, help="The prior's file.  [default: the one that ships]")
@click.option("--samples", default=20_000, show_default=True, type=click.IntRange(min=20_000), help="Poses to draw.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1), help="Of the drawing.")
@_friendly
def prior_check(path: str | None, samples: int, seed: int) -> None:
    """Compare poses drawn from the prior with the real ones it was fitted to; fails where they differ too much."""
    from posebook.datasets.prior import fidelity
    from posebook.figures.prior import PRIOR, PosePrior
    from posebook.skeleton import MPII

    found = fidelity(PosePrior.load(path or PRIOR), samples, seed)
    click.echo(f"Correlation of the 120 mutual informations with the real ones: {found.correlation:.4f}")
    for name, groups in (("real", found.real_groups), ("drawn", found.sampled_groups)):
        click.echo(f"Groups, {name}: " + " | ".join(" ".join(MPII.joints[j] for j in group) for group in groups))
    click.echo(f"Plausible: {found.plausible_draws:.2%} of single draws, {found.plausible:.2%} of the poses given out")
    if found.correlation < 0.95 or found.sampled_groups != found.real_groups:
        raise ValueError("the prior is not like real poses: correlation below 0.95, or other groups; fit it anew")


@main.command()
@click.argument("model")
@click.option(
    "--dataset",
    default="figures",
    show_default=True,
    help="figures, lsp, lspet, mpii, flic, lip, pascal, ccp (parts alone) or packed.",
)
@click.option("--data-root", help="Folder of a real set; for packed, the file.")
@click.option("--profile", default="quick", show_default=True, help="quick, study (minutes) or paper (GPU, real sets).")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="One of the network's settings.")
@click.option("--minutes", type=float, help="Train this long, in place of the profile's length.")
@click.option("--steps", type=int, help="Train this many steps, in place of the profile's length.")
@click.option("--batch-size", type=int, help="People a step, over all processes together.")
@click.option("--lr", type=float, help="Learning rate.")
@click.option("--size", type=int, help="Side of the images in pixels.")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**63 - 1),
    help="Of weights, batches and augmentation. The same numbers take as many threads (OMP_NUM_THREADS).",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda; auto takes a GPU where there is one.")
@click.option("--imagenet", help="File of torchvision's weights to start from: VGG16, ResNet-50 or ResNet-101.")
@click.option("--learner", help="Weights of a parsing_induced network, whose learner is taken and frozen.")
@click.option("--output", help="Folder for state, weights and scores.  [default: runs/MODEL-DATASET-PROFILE]")
@click.option("--resume/--fresh", default=True, show_default=True, help="Go on with the run in the folder, or anew.")
@click.option("--tensorboard", is_flag=True, help="Also write a TensorBoard log.")
@_friendly(stopped="the same command goes on from the last state that was saved")
def train(
    model: str,
    dataset: str,
    data_root: str | None,
    profile: str,
    assignments: tuple[str, ...],
    output: str | None,
    resume: bool,
    tensorboard: bool,
    imagenet: str | None,
    learner: str | None,
    **changes,
) -> None:
    """Train the network MODEL, and score it on the test split.

    A run that was stopped goes on where it was when the same command is given again. Several processes share each
    batch: torchrun --nproc-per-node 2 -m posebook.cli train MODEL ...
    """
    from pathlib import Path

    from posebook.papers import load_weights, parse_settings, profile_of
    from posebook.training.from_profile import train_by_profile

    settings, plan = parse_settings(model, assignments), profile_of(model, profile)
    starts = (("--imagenet", "load_imagenet", imagenet), ("--learner", "take_learner", learner))
    for option, method, given in starts:
        if given and not hasattr(plan.network, method):
            raise ValueError(f"{option} is not for {model}, which starts from nothing else: leave it out")
    folder = output or f"runs/{model}-{dataset}-{profile}"
    table = train_by_profile(
        plan,
        dataset,
        data_root,
        settings,
        folder,
        imagenet=imagenet,
        learner=load_weights(learner)[0] if learner else None,
        fresh=not resume,
        tensorboard=tensorboard,
        **changes,
    )
    if table is not None:
        best = Path(folder, "best.safetensors")
        click.echo(f"{table}\n\nWeights: {folder}/last.safetensors" + f"; best in validation: {best}" * best.is_file())


@main.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--weights", help="A .safetensors file of posebook's.  [default: those that ship]")
@click.option("--output", default="predictions", show_default=True, help="Folder for pictures and JSON.")
@click.option("--recursive", is_flag=True, help="Of a folder, those in its subfolders too, into subfolders.")
@click.option("--box", help="The person, as x,y,width,height in pixels.  [default: the whole photograph]")
@click.option("--boxes", help="A CSV file with each photograph's box: file name, x, y, width, height.")
@click.option("--scales", default="1", show_default=True, help="Magnifications to average over, as 0.9,1,1.1.")
@click.option("--flip/--no-flip", default=True, show_default=True, help="Look at the mirror image too.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda; auto takes a GPU where there is one.")
@_friendly(stopped="what was written is whole, and the same command begins anew")
def predict(
    images: tuple[str, ...],
    weights: str | None,
    output: str,
    recursive: bool,
    box: str | None,
    boxes: str | None,
    scales: str,
    flip: bool,
    device: str,
) -> None:
    """Find the person in each IMAGE: the drawn pose as PNG, and its joints in the photograph's pixels as JSON.

    A network that tells body parts also gives them as a label map, a PNG with a palette, and drawn over the photograph.

    An IMAGE is a photograph, or a folder for all photographs in it. For photo.jpg the files are photo_pose.png,
    photo_pose.json, photo_parts.png and photo_parsing.png. Boxes count pixels from the top left of the upright
    photograph.
    """
    import warnings
    from pathlib import Path

    from PIL.Image import DecompressionBombWarning
    from tqdm import tqdm

    from posebook.compute.processes import pick_device
    from posebook.papers import load_weights
    from posebook.paths import WEIGHTS, check_writable
    from posebook.pictures.photographs import find_photographs, match_boxes, read_boxes, write_prediction
    from posebook.skeleton import SKELETONS

    if box is not None and boxes is not None:
        raise ValueError("--box is for all photographs and --boxes for each: give one of them")
    region = None if box is None else _numbers(box, "--box", "x,y,width,height", 4)
    factors = _numbers(scales, "--scales", "one number or more, as 0.9,1,1.1")
    jobs = find_photographs(images, output, recursive)
    regions, unknown = match_boxes(read_boxes(boxes), jobs) if boxes is not None else ({}, [])
    if unknown:
        click.echo(
            f"{boxes}: {len(unknown):,} names are of none of the photographs; the first is {unknown[0]}", err=True
        )
    network, about = load_weights(weights or WEIGHTS / "hourglass", pick_device(device))
    check_writable(output)
    skeleton, spared, failed = SKELETONS[about["skeleton"]], {Path(job.image).resolve() for job in jobs}, []
    with (
        warnings.catch_warnings(action="ignore", category=DecompressionBombWarning),  # what is too large, an error says
        # One photograph, or a file in place of a terminal, needs no bar.
        tqdm(jobs, "photographs", unit="im", disable=True if len(jobs) == 1 else None) as bar,
    ):
        for job in bar:
            try:
                if boxes is not None and job not in regions:
                    raise ValueError(f"{boxes} has no box for it: add a line that starts with {job.name}")
                files = write_prediction(
                    job.image,
                    network,
                    skeleton,
                    job.output,
                    regions.get(job, region),
                    spared,
                    flip=flip,
                    scales=factors,
                )
                said = f"{job.image}: {', '.join(map(str, files[:-1]))} and {files[-1]}"
            except Exception as error:  # whatever one photograph comes to, the others have their turn
                failed.append(job.image)
                said = f"Error: {job.image}: {error or type(error).__name__}"
            with tqdm.external_write_mode():
                click.echo(said, err=said.startswith("Error"))
    if failed:
        names = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
        raise click.ClickException(f"{len(failed)} of {len(jobs)} photographs could not be done: {names}")


@main.command()
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
@_friendly(stopped="what was measured is stored, and the same command goes on where it was")
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
        seconds = math.inf if budget is None else _duration(budget)
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
        say(f"Pictures: {', '.join(map(str, draw_ledger(chosen, place / 'readings', place)))}")
    if markdown:
        say(f"Wrote {write_markdown(select(), place)}")


def _duration(text: str) -> float:
    """Seconds of a duration as 90m, 2h or 45s; ValueError says how it should look."""
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        seconds = float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"--budget is '{text}'; give a time as 90m, 2h or 45s")
    return seconds


def _numbers(text: str, option: str, form: str, count: int | None = None) -> tuple[float, ...]:
    """Finite numbers between commas; ValueError says how they should look."""
    import math

    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or (count is not None and len(numbers) != count) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{option} is '{text}'; give {form}, as finite numbers")
    return numbers


if __name__ == "__main__":
    main()

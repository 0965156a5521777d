"""Commands that describe, train and apply networks."""

from __future__ import annotations

import click

from posebook.cli.common import friendly, numbers, sentence


@click.command()
@click.argument("model")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="One of the network's settings.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@friendly
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


@click.command()
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
@click.option("--batch-size", type=int, help="People per step, over all processes together.")
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
@friendly(stopped="the same command goes on from the last state that was saved")
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


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--weights", help="A .safetensors file of posebook's.  [default: those that ship]")
@click.option("--output", default="predictions", show_default=True, help="Folder for pictures and JSON.")
@click.option("--recursive", is_flag=True, help="Of a folder, those in its subfolders too, into subfolders.")
@click.option("--box", help="The person, as x,y,width,height in pixels.  [default: the whole photograph]")
@click.option("--boxes", help="A CSV file with each photograph's box: file name, x, y, width, height.")
@click.option("--scales", default="1", show_default=True, help="Magnifications to average over, as 0.9,1,1.1.")
@click.option("--flip/--no-flip", default=True, show_default=True, help="Look at the mirror image too.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda; auto takes a GPU where there is one.")
@friendly(stopped="what was written is whole, and the same command begins anew")
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

    from posebook.compute.ending import check_stopped
    from posebook.compute.processes import pick_device
    from posebook.papers import load_weights
    from posebook.paths import WEIGHTS, check_writable
    from posebook.pictures.photographs import find_photographs, match_boxes, read_boxes, write_prediction
    from posebook.skeleton import SKELETONS

    if box is not None and boxes is not None:
        raise ValueError("--box is for all photographs and --boxes for each: give one of them")
    region = None if box is None else numbers(box, "--box", "x,y,width,height", 4)
    factors = numbers(scales, "--scales", "one number or more, as 0.9,1,1.1")
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
            check_stopped()
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
                told = sentence(error) or type(error).__name__
                said = f"Error: {told}" if told.startswith(job.image) else f"Error: {job.image}: {told}"
            with tqdm.external_write_mode():
                click.echo(said, err=said.startswith("Error"))
    if failed:
        names = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
        raise click.ClickException(f"{len(failed)} of {len(jobs)} photographs could not be done: {names}")

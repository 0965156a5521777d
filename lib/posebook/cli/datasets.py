"""Commands on real sets, and on the prior of poses that is fitted to them."""

from __future__ import annotations

import click

from posebook.cli.common import friendly


@click.group()
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
@friendly
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
@friendly
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
@friendly(stopped="what came is kept where it can be taken up again: the same command goes on from there")
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
@friendly(stopped="nothing was written, and the same command begins anew")
def data_pack(name: str, root: str, out: str, size: int, splits: tuple[str, ...]) -> None:
    """Crop the people of the set NAME in the folder ROOT once into the file OUT, which training reads much faster."""
    from posebook.datasets.packed import check, pack
    from posebook.sample import SPLITS

    click.echo(check(pack(name, root, out, size, splits or SPLITS)))


@click.group()
def prior() -> None:
    """The pose prior: fit it to annotations, check it against them."""


@prior.command("fit")
@click.argument("annotations", nargs=-1, required=True, metavar="ANNOTATIONS...")
@click.option("--output", default="data/pose_prior.safetensors", show_default=True, help="Where the prior goes.")
@click.option("--components", default=96, show_default=True, type=click.IntRange(min=1), help="Gaussians in it.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of its k-means.")
@friendly
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
@friendly
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

"""The `posebook` command. Each command imports what it needs when it runs, so that `posebook --help` is quick."""

from __future__ import annotations

import click

from posebook.cli import datasets, measuring, networks, notebooks


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="posebook")
def main() -> None:
    """Learn and reproduce research on human pose estimation."""


for command in (
    datasets.data,
    datasets.prior,
    notebooks.run,
    notebooks.demo,
    notebooks.notebooks,
    networks.describe,
    networks.train,
    networks.predict,
    measuring.score,
    measuring.groups,
    measuring.ledger,
):
    main.add_command(command)

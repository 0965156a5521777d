"""The `posebook` command. Each command imports what it needs when it runs, so that `posebook --help` is quick."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="posebook")
def main() -> None:
    """Learn and reproduce research on human pose estimation."""


@main.group()
def data() -> None:
    """Real sets: list, check, fetch, pack."""


if __name__ == "__main__":
    main()

"""``transfuse assets``: the catalog of pinned models and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transfuse.cli import terminal

if TYPE_CHECKING:
    from transfuse.data import Asset

app = typer.Typer(
    help="The catalog of pinned models and data.\n\nExample: transfuse assets pull minilm-l6", no_args_is_help=True
)


@app.command("list")
def list_assets() -> None:
    """List what the catalog has, its size and licence, and what is already here.

    Example: transfuse assets list
    """
    from rich.table import Table

    from transfuse import data

    table = Table("name", "kind", "MB", "licence", "here", "what", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    table.columns[0].no_wrap = True
    shown: dict[str, list[data.Asset]] = {}
    for name in data.names():
        asset = data.entry(name)
        shown.setdefault(asset.family or name, []).append(asset)
    for name, assets in shown.items():
        first, about = assets[0], assets[0].description
        here = "yes" if all(data.where(a.name) for a in assets) else "some" if any(map(_is_here, assets)) else ""
        if first.family:
            about = f"{about.rpartition(' (')[0]}, {len(assets)} languages"
        table.add_row(name, first.kind, f"{first.to_fetch / 1e6:.0f}", first.licence, here, about)
    terminal.stdout().print(table)
    for name, assets in shown.items():
        if assets[0].family:
            codes = ", ".join(asset.name.removeprefix(name.removesuffix(data.catalog.LANG)) for asset in assets)
            terminal.stdout().print(f"\n{name}, LANG one of: {codes}", highlight=False)


def _is_here(asset: Asset) -> bool:
    from transfuse import data

    return data.where(asset.name) is not None


@app.command("pull")
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names of the catalog.", show_default=False)],
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="I have read the terms of use and accept them.")
    ] = False,
) -> None:
    """Fetch assets into the cache, each once; a broken download goes on where it stopped.

    Example: transfuse assets pull minilm-l6 vader-movie-reviews
    """
    from transfuse import data

    wanted = [name.removeprefix("catalog:") for name in names]
    for name in wanted:
        data.entry(name)
    for name in wanted:
        folder = _pull_with_bar(name, accept_terms)
        terminal.stdout().print(f"{name}: {folder}", soft_wrap=True)


def _pull_with_bar(name: str, accept_terms: bool) -> Path:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from transfuse import data

    console = terminal.stderr()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)

        def told(_: str, done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        return data.pull(name, progress=told, accept_terms=accept_terms)


@app.command("where")
def where(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of the catalog.", show_default=False)],
) -> None:
    """Print the folder of an asset that has been pulled.

    Example: transfuse assets where minilm-l6
    """
    from transfuse import data
    from transfuse.errors import AssetError

    plain = name.removeprefix("catalog:")
    folder = data.where(plain)
    if folder is None:
        raise AssetError(f"catalog:{plain}: not here yet", remedy=f"Run `transfuse assets pull {plain}`.")
    print(folder)

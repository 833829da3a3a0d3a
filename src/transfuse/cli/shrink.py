"""``transfuse shrink``: a smaller backbone out of a model, for a student to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transfuse.cli import terminal


def shrink(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A fitted model's folder, that of its run, or a backbone.", show_default=False
        ),
    ],
    layers: Annotated[int, typer.Option(min=1, help="Layers that stay, evenly spread.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The new backbone's folder.", show_default=False)],
    heads: Annotated[
        int | None, typer.Option(min=1, help="Groups of attention heads that stay in a layer.", show_default="all")
    ] = None,
) -> None:
    """Leave out layers of a model, and write what stays as a backbone.

    Example: transfuse shrink runs/big --layers 3 --out students/small
    """
    from transfuse.fitted.shrinking import shrink as write

    folder = terminal.model_folder(Path(model)) if Path(model).is_dir() else Path(model)
    told = write(str(folder) if folder.is_dir() else model, out, layers=layers, heads=heads)
    before, after = told["parameters"]
    kept = ", ".join(str(i) for i in told["layers"])
    terminal.stdout().print(f"Layers {kept} stay: {after:,} of {before:,} parameters.")
    terminal.stdout().print(f"Backbone: {out}", soft_wrap=True)

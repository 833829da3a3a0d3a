"""``transfuse distill``: a student out of a teacher, or out of what a cascade has asked it, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transfuse.cli import terminal
from transfuse.cli.progress import progress_on


def distill(
    teacher: Annotated[
        Path,
        typer.Argument(
            metavar="TEACHER",
            help="A cascade's folder, whose kept answers are learnt; or a fitted model's, or that of its run.",
            show_default=False,
        ),
    ],
    student: Annotated[str, typer.Option(help="A backbone: a folder, catalog:NAME or hub:NAME.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The student's folder.", show_default=False)],
    texts: Annotated[str | None, typer.Option(help="More texts to ask the teacher about.", show_default=False)] = None,
    labelled: Annotated[
        str | None, typer.Option(help="Labelled rows, from which the student learns too.", show_default=False)
    ] = None,
    temperature: Annotated[float, typer.Option(help="Of teacher and student in the loss.")] = 2.0,
    alpha: Annotated[float, typer.Option(help="Share of the teacher in the loss of labelled rows.")] = 0.5,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the taught texts.", show_default="the method's")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the student.", show_default="the method's")] = None,
    train_layers: Annotated[
        str | None, typer.Option(help="Upper layers that train, or all.", show_default="the method's")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The column of labels.", show_default="that of the task")] = None,
    input: Annotated[str | None, typer.Option(help="The column of texts.", show_default="that of the task")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    lang: Annotated[str | None, typer.Option(help="Language, en or zh.", show_default="that of the locale")] = None,
) -> None:
    """Train a student on what a teacher says, and say how well it agrees with it on texts that were held out.

    Example: transfuse distill runs/both --student catalog:minilm-l6 --texts more.csv --out runs/next
    """
    from transfuse.report.cascade_page import agreement
    from transfuse.study.distill import MODEL
    from transfuse.study.distill import distill as train

    language = terminal.language(lang)
    with progress_on(terminal.stderr(), language) as progress:
        made = train(
            teacher,
            student,
            texts or (),
            labelled,
            out,
            temperature=temperature,
            alpha=alpha,
            epochs=epochs,
            learning_rate=learning_rate,
            train_layers=int(train_layers) if train_layers and train_layers.isdigit() else train_layers,
            label=label,
            input=input,
            seed=seed,
            lang=language,
            progress=progress,
        )
    for line in agreement(made.made["distilled"], language):
        terminal.stdout().print(line)
    terminal.stdout().print(str(out / MODEL), soft_wrap=True)

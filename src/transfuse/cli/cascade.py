"""``transfuse cascade``: the student answers where it is confident, the teacher elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transfuse.cli import terminal
from transfuse.cli.progress import progress_on

PAGE = "cascade.html"


def cascade(
    student: Annotated[
        Path, typer.Argument(metavar="STUDENT", help="A fitted model's folder, or that of its run.", show_default=False)
    ],
    teacher: Annotated[
        str,
        typer.Argument(
            metavar="TEACHER",
            help="A fitted model's folder, or a backbone, which is prompted with the student's task.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Labelled rows that neither has learnt from.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The cascade's folder.", show_default=False)],
    quality: Annotated[
        float | None, typer.Option(help="Reach this much of the task's metric, cheaply.", show_default=False)
    ] = None,
    cost: Annotated[
        float | None, typer.Option(help="Spend at most so much an answer, well.", show_default=False)
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Ask the teacher of at most this share, 0 to 1.", show_default=False)
    ] = None,
    examples: Annotated[
        str | None, typer.Option(help="Labelled rows that a prompted teacher is shown.", show_default=False)
    ] = None,
    shots: Annotated[int, typer.Option(min=0, help="So many of them.")] = 8,
    price_student: Annotated[
        float | None, typer.Option(help="Of one answer, in any unit.", show_default="seconds on this machine")
    ] = None,
    price_teacher: Annotated[
        float | None, typer.Option(help="The same of the teacher.", show_default="seconds on this machine")
    ] = None,
    money: Annotated[
        float | None, typer.Option(help="Dollars that a remote teacher may be paid for DATA.", show_default=False)
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens that it may read and write.", show_default=False)] = None,
    label: Annotated[
        str | None, typer.Option(help="The column of labels.", show_default="that of the student's task")
    ] = None,
    input: Annotated[
        str | None, typer.Option(help="The column of texts.", show_default="that of the student's task")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of folds, resamples and demonstrations.")] = 0,
    lang: Annotated[str | None, typer.Option(help="Language, en or zh.", show_default="that of the locale")] = None,
) -> None:
    """Choose where a student hands over to its teacher, by what both say of labelled rows.

    Without --quality, --cost and --share: as cheaply as is not shown to be worse than the teacher. Answers of the
    teacher are kept in the folder; the same command with another goal asks nothing again.

    Example: transfuse cascade runs/small runs/big labelled.csv --share 0.2 --out runs/both
    """
    from transfuse.report.cascade_page import lines, write_cascade
    from transfuse.study.cascade import cascade as make

    language = terminal.language(lang)
    with progress_on(terminal.stderr(), language) as progress:
        made = make(
            student,
            teacher,
            data,
            out,
            quality=quality,
            cost=cost,
            share=share,
            examples=examples,
            shots=shots,
            price_student=price_student,
            price_teacher=price_teacher,
            money=money,
            tokens=tokens,
            label=label,
            input=input,
            seed=seed,
            lang=language,
            progress=progress,
        )
    page = write_cascade(made.figures, out / PAGE, language)
    _show(made.figures, language)
    for line in lines(made.figures, language):
        terminal.stdout().print(line)
    terminal.stdout().print(f"{out}, {page}", soft_wrap=True)


def _show(figures: dict[str, object], lang: str) -> None:
    from rich.table import Table

    from transfuse.report.cascade_page import board, heads

    table = Table(*heads(figures, lang), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in board(figures, lang):
        table.add_row(*row)
    terminal.stdout().print(table)

"""The model card: what a fitted model was made from, its figures, its limits and its licences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transfuse.data import catalog
from transfuse.fitted import FittedModel, FittedWriter
from transfuse.methods import catalogue
from transfuse.study.prepare import StudyData
from transfuse.study.recipe import Recipe
from transfuse.tasks.writing import Writing

SHOWN = ("accuracy", "macro_f1", "mcc", "log_loss", "ece")
DOES = {
    "generate": "Answers a request in words.",
    "translate": "Translates a text: {} to {}.",
    "answer": "Answers a question about a passage.",
    "code": "Completes a program.",
}
PLAIN = {
    "tfidf": "TF-IDF on the target's labels",
    "copy": "the text itself",
    "lookup": "the answer to the most similar known request",
}


def card(
    recipe: Recipe,
    data: StudyData,
    model: FittedModel | FittedWriter,
    record: Mapping[str, Any],
    test: Mapping[str, Mapping[str, float]],
    no_transfer: Mapping[str, Mapping[str, float]],
) -> str:
    """README.md of the model's folder, in Markdown."""
    writing = isinstance(data.task, Writing)
    shown = data.task.metrics if writing else SHOWN
    rows = [f"| {m} | {_figure(test, m)} | {_figure(no_transfer, m)} |" for m in shown if m in test]
    plain = catalogue.no_transfer(data.task.kind)
    parts = [f"| {p['name']} | {p['origin']} | {p['rows']} | {_licence(str(p['origin']))} |" for p in data.parts]
    sources = ", ".join(record["sources"]) or "none"
    backbone = model.backbone
    named = f"{backbone['reference']} ({backbone['licence'] or 'licence unknown'})" if backbone else "none"
    labels = ", ".join(data.task.labels[:20]) + (" …" if len(data.task.labels) > 20 else "")
    does = f"Classifies a text as one of {len(data.task.labels)} labels: {labels}."
    use = 'model.predict(["..."]), model.predict_proba(["..."])'
    if isinstance(data.task, Writing):
        does = DOES[data.task.kind].format(*data.task.languages)
        use = 'model.predict(["..."])'
    made = (
        f"Made by transfuse with the method `{record['method']}` (family {record['family']}), backbone {named}, "
        f"sources: {sources}."
    )
    measured = (
        f"On {len(data.test)} test rows of {data.parts[1]['origin']} that were held out first and read after the "
        "choice, with 95 % bootstrap intervals over the rows:"
    )
    return "\n".join(
        [
            f"# {recipe.name}",
            "",
            does,
            made,
            "",
            "## Figures",
            "",
            measured,
            "",
            f"| metric | this model | no transfer ({PLAIN[plain]}) |",
            "| --- | --- | --- |",
            *rows,
            "",
            "## Made from",
            "",
            "| part | origin | rows | licence |",
            "| --- | --- | --- | --- |",
            *parts,
            "",
            f"Backbone: {named}, content {str(backbone.get('revision', ''))[:12] or 'none'}. Seed {recipe.seed}.",
            "",
            "## Limits",
            "",
            "- The intervals are over test rows alone; another draw of the training rows would move the figures too.",
            "- Texts unlike the test rows (another domain, another language) were not measured.",
            f"- Texts longer than {data.task.max_tokens} tokens are cut.",
            "- Biases of the backbone and of the training labels are in the model; they were not examined.",
            "",
            "## Use",
            "",
            "```python",
            "import transfuse",
            'model = transfuse.load("model")',
            use,
            'model.bundle("bundle")   # a folder that plain libraries load: transformers, sentence-transformers',
            "```",
            "",
        ]
    )


def _figure(figures: Mapping[str, Mapping[str, float]], metric: str) -> str:
    f = figures[metric]
    return f"{f['value']:.3f} ({f['low']:.3f} to {f['high']:.3f})"


def _licence(origin: str) -> str:
    kind, _, name = origin.partition(":")
    return catalog.entry(name).licence if kind == "catalog" else "the user's own"

"""A bundle: the fitted model as a folder that plain transformers or sentence-transformers loads, without transfuse."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import torch

import transfuse
from transfuse.backbones import saving
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.scoring import LabelScorer
from transfuse.backbones.tokens import tokenize
from transfuse.errors import ModelError
from transfuse.fitted.artifact import CARD, placed
from transfuse.fitted.ensemble import EnsemblePath
from transfuse.fitted.head import HeadPath
from transfuse.fitted.model import FittedModel
from transfuse.fitted.prompted import PromptPath
from transfuse.fitted.writer import WriterPath
from transfuse.fitted.written import FittedWriter

MARK = "transfuse.json"
"""By which a folder is known as a bundle, and may be replaced by another."""

LABELS, PROMPT, PREDICT, MODULES = "labels.json", "prompt.json", "predict.py", "modules.json"
ENSEMBLE = "ensemble.json"

_MODULE = "sentence_transformers.models."
"""The class paths that sentence-transformers has read since version 2 and still reads in version 6."""

_POOLING = {
    "mean": "pooling_mode_mean_tokens",
    "first": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
}


def write(model: FittedModel | FittedWriter, folder: Path) -> Path:
    """Write a fitted model as a folder of its own, backbone included; it appears whole or not at all.

    A head becomes a sentence-transformers folder (Transformer, Pooling, Normalize for a cosine head, Dense) whose
    ``encode`` gives logits, an ensemble of heads one such folder a member; a prompt becomes a causal language model
    with prompt.json, and so does a model that writes, adapters merged. predict.py in each needs plain transformers
    alone, and its probabilities are the model's own within 1e-4, its answers the model's own.

    Raises:
        ModelError: the model has no backbone.
        OutputError: the place cannot be written, or holds something that is no bundle.
    """
    path: Any = model.path
    for one in path.members if isinstance(path, EnsemblePath) else (path,):
        _refuse(one, model)
    with placed(folder, MARK) as scratch:
        if isinstance(path, HeadPath):
            _write_head(path, model, scratch)
        elif isinstance(path, EnsemblePath):
            _write_ensemble(path, model, scratch)
        elif isinstance(path, PromptPath):
            _write_prompt(path, model, scratch)
        else:
            _write_writer(path, scratch)
        about = {"bundle": 1, "kind": path.kind, "method": model.method, "transfuse": transfuse.__version__}
        _dump({**about, "backbone": model.backbone.get("reference", path.backbone.reference)}, scratch / MARK)
        (scratch / CARD).write_text(_card(model), encoding="utf-8")
        _write_program(path.kind, scratch)
    return folder


def _refuse(path: Any, model: FittedModel | FittedWriter) -> None:
    """Refuse a path, of a model or of a member of one, that plain libraries have no form for.

    Raises:
        ModelError: what it is.
    """
    ship = "Ship the folder that save() writes: it is small and complete, and transfuse.load reads it."
    alone = path is model.path
    if not isinstance(path, HeadPath | PromptPath | WriterPath if alone else HeadPath):
        raise ModelError(
            f"a bundle of method '{model.method}': "
            + ("plain libraries have no form for it" if model.backbone else "it has no backbone"),
            expected="a model with a backbone, such as of probe, finetune, lora or prompt",
            remedy=ship,
        )
    if path.backbone.crosses:
        raise ModelError("bundle: an encoder-decoder", expected="a model on an encoder or a decoder", remedy=ship)
    if isinstance(path, WriterPath) and path.trained is not None and path.trained.soft is not None:
        raise ModelError("bundle: a soft prompt", expected="a model whose difference is in its layers", remedy=ship)
    if isinstance(path, WriterPath) and path.memory is not None:
        raise ModelError(
            "bundle: demonstrations that are chosen for each request",
            expected="a model that shows all requests the same ones, or none",
            remedy=f"{ship} Or fit `prompt` with `choose: drawn`, whose demonstrations a bundle holds.",
        )
    if isinstance(path, HeadPath) and path.head.owner is not None:
        raise ModelError(
            "a model of nearest neighbours has no linear head, which is what these libraries know",
            expected="another method, such as centroid",
            remedy="Keep the fitted model's own folder, or choose another method.",
        )


def _write_program(kind: str, folder: Path) -> None:
    template = resources.files("transfuse.fitted").joinpath("templates", f"predict_{kind}.txt")
    (folder / PREDICT).write_text(template.read_text(encoding="utf-8"), encoding="utf-8")


def _write_ensemble(path: EnsemblePath, model: FittedModel | FittedWriter, folder: Path) -> None:
    members = []
    for number, (weight, member) in enumerate(zip(path.weights, path.members, strict=True)):
        assert isinstance(member, HeadPath)
        place = folder / f"member-{number}"
        place.mkdir()
        _write_head(member, model, place)
        _write_program(member.kind, place)
        members.append({"folder": place.name, "weight": weight})
    _dump({"labels": list(model.labels), "temperature": path.temperature, "members": members}, folder / ENSEMBLE)


def _write_head(path: HeadPath, model: FittedModel | FittedWriter, folder: Path) -> None:
    from safetensors.torch import save_file

    backbone = path.backbone
    limit = min(path.limit, backbone.max_tokens)
    saving.write_trunk(backbone, path.whole("fp32"), folder, model.labels, limit)
    width, pooling = backbone.width, path.pooling
    weight, bias = (torch.tensor(x / path.temperature, dtype=torch.float32) for x in path.head.folded())
    modules: list[tuple[str, dict[str, Any]]] = [
        ("Pooling", {"word_embedding_dimension": width, **{k: p == pooling for p, k in _POOLING.items()}})
    ]
    if path.head.normalise:
        modules.append(("Normalize", {}))
    identity = "torch.nn.modules.linear.Identity"
    dense = {"in_features": width, "out_features": len(bias), "bias": True, "activation_function": identity}
    modules.append(("Dense", dense))
    listed = [{"idx": 0, "name": "0", "path": "", "type": _MODULE + "Transformer"}]
    for i, (name, config) in enumerate(modules, start=1):
        place = f"{i}_{name}"
        listed.append({"idx": i, "name": str(i), "path": place, "type": _MODULE + name})
        (folder / place).mkdir()
        _dump(config, folder / place / "config.json")
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / place / "model.safetensors")
    _dump(listed, folder / MODULES)
    _dump({"max_seq_length": limit, "do_lower_case": False}, folder / "sentence_bert_config.json")
    settings = {"labels": list(model.labels), "template": path.template, "max_tokens": limit, "pooling": pooling}
    head = {"normalise": path.head.normalise, "head": f"{place}/model.safetensors", "empty": _empty(backbone)}
    _dump({**settings, **head}, folder / LABELS)


def _write_prompt(path: PromptPath, model: FittedModel | FittedWriter, folder: Path) -> None:
    backbone = path.backbone
    saving.write_decoder(backbone, folder)
    scorer = LabelScorer(backbone, path.prefix, path.template, path.words, path.limit, "fp32")
    prompt = {
        "labels": list(model.labels),
        "words": list(path.words),
        "prefix": path.prefix,
        "template": path.template,
        "max_tokens": len(scorer.prefix) - len(scorer.opening) + scorer.room,
        "bias": path.bias.tolist(),
        "temperature": path.temperature,
        "opening": scorer.opening,
        "word_ids": scorer.labels,
        "empty": _empty(backbone),
    }
    _dump(prompt, folder / PROMPT)


def _write_writer(path: WriterPath, folder: Path) -> None:
    writer = path.writer("fp32")
    saving.write_decoder(path.backbone, folder, writer.network)
    settings = {
        **path.form.to_dict(),
        **path.decoding.to_dict(),
        "max_tokens": path.limit,
        "opening": writer.opening,
        "ends": sorted(set(writer.speech.over)),
    }
    _dump(settings, folder / PROMPT)


def _empty(backbone: Backbone) -> int:
    """The token that stands for a text without any."""
    return tokenize(backbone.tokenizer, [""], None, 1, special=False)[0][0]


def _card(model: FittedModel | FittedWriter) -> str:
    """The model card, and how the bundle is loaded."""
    plain = f"# A classifier of {len(model.labels)} labels" if model.labels else "# A model that writes"
    title = model.card.rstrip() or plain
    lines = [title, "", "## How to load this folder", "", "It needs no transfuse. With plain transformers:", ""]
    lines += ["```", f'python {PREDICT} "a text" "another text"', "```", ""]
    if isinstance(model.path, HeadPath):
        shown = json.dumps(model.path.template or "{text}", ensure_ascii=False)
        lines += [
            "With sentence-transformers, which gives the logits of the labels in labels.json:",
            "",
            "```python",
            "from sentence_transformers import SentenceTransformer",
            "",
            f"template = {shown}",
            'model = SentenceTransformer("this folder")',
            'logits = model.encode([template.replace("{text}", text) for text in texts], convert_to_tensor=True)',
            "probabilities = logits.softmax(1)",
            "```",
            "",
            "sentence-transformers cuts the end of an input that is too long, the template's words included;",
            "predict.py cuts the text and keeps the template.",
        ]
    elif isinstance(model.path, EnsemblePath):
        lines += [f"Each folder member-* is a model by itself; {ENSEMBLE} has their weights."]
    elif isinstance(model.path, PromptPath):
        lines += [f"The demonstrations, the template and the label words are in {PROMPT}."]
    else:
        lines += [f"How a request is shown, and where an answer ends, is in {PROMPT}."]
    return "\n".join(lines) + "\n"


def _dump(content: Any, file: Path) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

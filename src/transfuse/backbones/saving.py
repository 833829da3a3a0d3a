"""A backbone, whole or cut down, as a folder that plain transformers loads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transfuse.backbones import adapters
from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import Backbone


def write_trunk(backbone: Backbone, segment: Segment, folder: Path, labels: Sequence[str], limit: int) -> None:
    """Write the base model cut down to a segment that starts at token ids, with the tokenizer.

    The final norm is in its place again and adapters are merged, so that ``last_hidden_state`` of what ``AutoModel``
    loads from the folder is ``backbone.normed(segment(...))``.

    Args:
        backbone: where the segment comes from, in float32.
        segment: from ``start=0`` on; it stays as it is.
        folder: where to.
        labels: written into config.json as ``id2label``.
        limit: most tokens a text, the tokenizer's maximum.
    """
    model = segment.standalone(backbone.base(), backbone.anatomy, adapters.merged)
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: i for i, label in enumerate(labels)}
    model.save_pretrained(folder)
    write_tokenizer(backbone.tokenizer, folder, limit)


def write_decoder(backbone: Backbone, folder: Path, network: Any = None) -> None:
    """Write the whole decoder with its language-modelling head, in float32 safetensors, and the tokenizer.

    ``network`` stands in the place of the backbone's own where layers were trained.
    """
    (backbone.network() if network is None else network).save_pretrained(folder)
    write_tokenizer(backbone.tokenizer, folder, backbone.max_tokens)


def write_tokenizer(tokenizer: Any, folder: Path, limit: int) -> None:
    """Write a tokenizer that pads on the right, where learned positions stay true, and can pad at all."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = "right"
    tokenizer.model_max_length = limit
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.bos_token or tokenizer.convert_ids_to_tokens(0)
    tokenizer.save_pretrained(folder)

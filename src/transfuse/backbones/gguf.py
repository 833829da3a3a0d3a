"""A GGUF file becomes a folder of safetensors once; afterwards it loads in a second or two."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from transfuse.errors import BackboneError

CONVERTED = "safetensors"


def converted(gguf: Path) -> Path:
    """The safetensors folder made from a GGUF file, made now where it is missing (about 20 s for 135M parameters).

    The folder is put in place in one step, so that a kill leaves nothing that looks finished; a second process waits
    for the first.

    Raises:
        BackboneError: transformers cannot read the file, or the folder beside it cannot be written.
    """
    target = gguf.parent / f"{gguf.stem}.{CONVERTED}"
    if (target / "config.json").exists():
        return target
    from filelock import FileLock

    scratch = gguf.parent / f".{target.name}.partial"
    try:
        with FileLock(gguf.parent / f".{target.name}.lock"):
            if not (target / "config.json").exists():
                try:
                    shutil.rmtree(scratch, ignore_errors=True)  # what a kill has left
                    _convert(gguf, scratch)
                    scratch.replace(target)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
    except Exception as error:  # a damaged file fails anywhere inside transformers and gguf
        raise BackboneError(
            f"{gguf}: cannot be turned into safetensors: {' '.join(str(error).split())[:300]}",
            expected="a GGUF file of a family that transformers reads, and a folder that can be written",
            remedy="Free the disk, or download the asset again with `transfuse assets pull`.",
        ) from error
    return target


def _convert(gguf: Path, folder: Path) -> None:
    """transformers dequantises the file to float32; the model that it loads refuses to be saved, so it is rebuilt."""
    import transformers

    messages: Any = transformers.logging
    messages.disable_progress_bar()
    auto: Any = transformers.AutoModelForCausalLM
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    loaded = auto.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    fields = {k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"}
    clean = auto.from_config(loaded.config.__class__.from_dict(fields))
    clean.load_state_dict(loaded.state_dict())
    clean.generation_config = loaded.generation_config
    clean.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

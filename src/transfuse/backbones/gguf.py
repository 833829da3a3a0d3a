"""A GGUF file becomes a folder of safetensors once; afterwards it loads in a second or two."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from transfuse.errors import BackboneError

CONVERTED = "safetensors"


def converted(gguf: Path) -> Path:
    """The safetensors folder made from a GGUF file, made now where it is missing (about 20 s for 135M parameters).

    transformers dequantises the file to float32; the model is rebuilt from its configuration without the quantisation,
    because the one that it loads refuses to be saved. The folder is put in place in one step, so that a kill leaves
    nothing half made.

    Raises:
        BackboneError: transformers cannot read the file, or the folder beside it cannot be written.
    """
    target = gguf.parent / f"{gguf.stem}.{CONVERTED}"
    if (target / "config.json").exists():
        return target
    import transformers

    scratch = gguf.parent / f".{target.name}.{os.getpid()}"
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        config = loaded.config.__class__.from_dict(
            {k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"}
        )
        clean = transformers.AutoModelForCausalLM.from_config(config)
        clean.load_state_dict(loaded.state_dict())
        clean.generation_config = loaded.generation_config
        clean.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        os.replace(scratch, target)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if (target / "config.json").exists():  # another process was quicker
            return target
        raise BackboneError(
            f"{gguf}: cannot be turned into safetensors: {error}",
            expected="a GGUF file of a family that transformers reads, and a folder that can be written",
            remedy="Free the disk, or download the asset again with `transfuse assets pull`.",
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target

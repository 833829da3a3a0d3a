"""From a reference to a backbone: a path, ``catalog:NAME`` or ``hub:OWNER/NAME[@REVISION]``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transfuse.backbones import gguf
from transfuse.backbones.crossing import EncoderDecoder
from transfuse.backbones.huggingface import Backbone
from transfuse.data import catalog
from transfuse.errors import AssetError, BackboneError, nearest

_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja", "README.md"]
_UNSAFE = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
_OTHER_FOLDERS = ["[!1]*/*"]
"""All folders of a repository but sentence-transformers' 1_Pooling: they hold the same model in other formats."""
_HASHED = (
    *("config.json", "tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model"),
    *("source.spm", "target.spm", "sentencepiece.bpe.model"),
)

Pull = Callable[[str, int, int | None], None]


def load(reference: str, *, base: Path | None = None, unsafe: bool = False, progress: Pull | None = None) -> Backbone:
    """Load a backbone in float32 from safetensors; code from a hub never runs.

    Args:
        reference: a folder (relative to ``base``), ``catalog:NAME`` or ``hub:OWNER/NAME[@REVISION]``.
        base: the folder that relative paths are relative to; the working directory by default.
        unsafe: also read weights that are not safetensors (PyTorch's .bin, tensors only): the user's own decision.
        progress: told of downloads: asset, bytes so far, bytes in all.

    Raises:
        BackboneError: no such folder, no configuration, no weights, or a model that is no encoder or decoder.
        AssetError: the catalog's index or the hub cannot be reached, or a hash differs.
    """
    folder, licence = locate(reference, base=base, unsafe=unsafe, progress=progress)
    config = _configuration(reference, folder)
    weights = sorted(folder.glob("*.safetensors")) or (sorted(folder.glob("pytorch_model*.bin")) if unsafe else [])
    if not weights:
        other = ", ".join(sorted(p.name for p in folder.iterdir())[:8])
        raise BackboneError(
            f"{reference}: no weights in {folder} (it holds {other or 'nothing'})",
            expected="model.safetensors (or model-00001-of-....safetensors with its index)",
            remedy="Save the model with save_pretrained(..., safe_serialization=True), or name the override "
            "`allow_unsafe_weights: true` in the recipe if you trust its .bin files.",
        )
    return _load(reference, folder, licence, config, weights)


def _load(reference: str, folder: Path, licence: str, config: dict[str, Any], weights: list[Path]) -> Backbone:
    import torch
    import transformers

    messages: Any = transformers.logging
    messages.set_verbosity_error()
    messages.disable_progress_bar()
    crosses = bool(config.get("is_encoder_decoder"))
    decoder = crosses or any(n.endswith(("ForCausalLM", "LMHeadModel")) for n in config.get("architectures") or ())
    known = list(transformers.CONFIG_MAPPING.keys())
    family = str(config.get("model_type"))
    if family not in known:
        brings = ", and the code that the folder brings never runs" if config.get("auto_map") else ""
        raise BackboneError(
            f"{reference}: transformers knows no model of type '{family}'{brings}.{nearest(family, known)}",
            expected="a family that transformers itself implements",
            remedy="Choose another backbone.",
        )
    auto: Any = transformers.AutoModelForCausalLM if decoder else transformers.AutoModel
    if crosses:
        auto = transformers.AutoModelForSeq2SeqLM
    local: Any = {"local_files_only": True, "trust_remote_code": False}  # unset, transformers would ask on the terminal
    try:
        network, info = auto.from_pretrained(
            str(folder),
            dtype=torch.float32,
            use_safetensors=weights[0].suffix == ".safetensors",
            weights_only=True,
            output_loading_info=True,
            **local,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **local)
    except Exception as error:
        raise BackboneError(
            f"{reference}: transformers cannot load {folder}: {' '.join(str(error).split())[:300]}",
            expected="a model and a tokenizer as save_pretrained writes them, of a family that transformers knows",
            remedy="Check that the folder is complete; a damaged download comes again after `rm -r` of the folder.",
        ) from error
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing:
        raise BackboneError(
            f"{reference}: the weights in {folder} lack {len(missing)} of the model's tensors, such as {missing[0]}",
            expected="all weights that config.json describes",
            remedy="Check that config.json and the weights belong together and that no part is missing.",
        )
    kind = EncoderDecoder if crosses else Backbone
    return kind(
        reference=reference,
        folder=folder,
        revision=content_hash([*weights, *(folder / name for name in _HASHED)]),
        licence=licence,
        network=network,
        tokenizer=tokenizer,
        decoder=decoder,
    )


def locate(
    reference: str, *, base: Path | None = None, unsafe: bool = False, progress: Pull | None = None
) -> tuple[Path, str]:
    """The folder that holds a backbone's files, fetched if need be, and the name of its licence."""
    kind, _, name = reference.partition(":")
    if kind == "catalog":
        asset = catalog.entry(name)
        if asset.kind != "backbone":
            raise BackboneError(
                f"{reference}: a {asset.kind} asset", expected="a backbone", remedy="See `transfuse assets list`."
            )
        folder = catalog.pull(name, progress=progress)
        ggufs = sorted(folder.rglob("*.gguf"))
        if ggufs:
            return gguf.converted(ggufs[0]), asset.licence
        configs = sorted(folder.rglob("config.json"), key=lambda path: len(path.parts))
        return configs[0].parent, asset.licence
    if kind == "hub":
        return _from_hub(name, unsafe)
    if kind in ("openai", "google"):
        raise BackboneError(
            f"{reference}: a remote model, which has no weights to load",
            expected="a folder, catalog:NAME or hub:OWNER/NAME",
            remedy="Ask it with the method prompt in a recipe: see docs/remote.md.",
        )
    folder = (base or Path.cwd()) / reference
    if not folder.is_dir():
        near = nearest(folder.name, [p.name for p in folder.parent.glob("*") if p.is_dir()])
        raise BackboneError(
            f"{reference}: no folder {folder}.{near}",
            expected="a folder with config.json and safetensors, catalog:NAME or hub:OWNER/NAME[@REVISION]",
            remedy="Correct the path; `transfuse assets list` names what the catalog has.",
        )
    return folder, ""


def _configuration(reference: str, folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"{reference}: {folder / 'config.json'} cannot be read: {error}",
            expected="the configuration that save_pretrained writes",
            remedy="Point to the folder that holds config.json.",
        ) from error


def _from_hub(name: str, unsafe: bool) -> tuple[Path, str]:
    import huggingface_hub
    import huggingface_hub.errors

    repository, _, revision = name.partition("@")
    try:
        folder = huggingface_hub.snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=_FILES + (_UNSAFE if unsafe else []),
            ignore_patterns=_OTHER_FOLDERS,
        )
    except huggingface_hub.errors.RepositoryNotFoundError as error:
        raise AssetError(
            f"hub:{name}: the hub has no such model, or it is private",
            expected="OWNER/NAME as in the model's address",
            remedy="Correct the name, or log in with `hf auth login`.",
        ) from error
    except huggingface_hub.errors.RevisionNotFoundError as error:
        raise AssetError(
            f"hub:{name}: no revision '{revision}'", expected="a branch, tag or commit", remedy="Correct the revision."
        ) from error
    except Exception as error:  # requests, httpx and the hub's own errors share no base
        raise AssetError(
            f"hub:{name}: not in the local cache, and the hub cannot be reached: {' '.join(str(error).split())[:200]}",
            expected="a hub that answers (HF_ENDPOINT names another one), or a model fetched before",
            remedy="Check the network and HF_HUB_OFFLINE, or use a folder or catalog:NAME instead.",
        ) from error
    return Path(folder), _licence(Path(folder))


def _licence(folder: Path) -> str:
    card = folder / "README.md"
    if card.exists():
        for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:40]:
            if line.startswith("license:"):
                return line.partition(":")[2].strip()
    return ""


def resolved(reference: str) -> str:
    """A hub reference with the commit that it means now; other references as they are."""
    kind, _, name = reference.partition(":")
    if kind != "hub":
        return reference
    folder, _ = _from_hub(name, unsafe=False)
    return f"hub:{name.partition('@')[0]}@{folder.name}"


def content_hash(files: list[Path]) -> str:
    """SHA-256 over the names and the contents of those files that exist."""
    digest = hashlib.sha256()
    for file in files:
        if file.exists():
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    digest.update(block)
    return digest.hexdigest()

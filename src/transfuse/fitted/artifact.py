"""A fitted model's folder: manifest.json, difference.safetensors, README.md. No pickle."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from transfuse.errors import ModelError, OutputError

FORMAT = 1
MANIFEST, DIFFERENCE, CARD = "manifest.json", "difference.safetensors", "README.md"


@contextlib.contextmanager
def placed(folder: Path, mark: str) -> Iterator[Path]:
    """A scratch folder that takes the place of ``folder`` in one step when the block ends well.

    Args:
        folder: the final place; an earlier folder there is replaced if it holds ``mark``.
        mark: the file by which an earlier folder of the same kind is known.

    Raises:
        OutputError: ``folder`` holds something else, or the disk refuses.
    """
    from safetensors import SafetensorError

    scratch = folder.parent / f".{folder.name}.partial"
    try:
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / mark).exists())):
            raise OutputError(
                f"{folder}: holds something that transfuse did not write",
                expected=f"no such folder, an empty one, or one with {mark}",
                remedy="Choose another folder.",
            )
        shutil.rmtree(scratch, ignore_errors=True)  # what a kill has left
        scratch.mkdir(parents=True)
        yield scratch
        if folder.exists():
            shutil.rmtree(folder)
        scratch.replace(folder)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by its own error
        raise OutputError(
            f"{folder}: cannot be written: {getattr(error, 'strerror', None) or error}",
            expected="a folder that can be written, with room for the model",
            remedy="Choose another folder or free the disk.",
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def save(folder: Path, manifest: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], card: str) -> Path:
    """Write the folder whole (see `placed`); the manifest holds the SHA-256 of the tensors' file."""
    from safetensors.torch import save_file

    with placed(folder, MANIFEST) as scratch:
        save_file(dict(tensors), scratch / DIFFERENCE)
        files = {DIFFERENCE: _sha256(scratch / DIFFERENCE)}
        text = json.dumps({**manifest, "files": files}, indent=2, ensure_ascii=False)
        (scratch / MANIFEST).write_text(text + "\n", encoding="utf-8")
        if card:
            (scratch / CARD).write_text(card, encoding="utf-8")
    return folder


def read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Manifest and tensors of a saved folder.

    Raises:
        ModelError: the folder is missing, foreign, of a newer format or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    remedy = "Point to the folder that holds manifest.json, such as runs/reviews/model."
    if not folder.is_dir() or not (folder / MANIFEST).exists():
        raise ModelError(f"{folder}: no fitted model here", expected=f"a folder with {MANIFEST}", remedy=remedy)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        number = manifest["format"]
        digest = str(manifest["files"][DIFFERENCE]) if number == FORMAT else ""
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / MANIFEST}: not a manifest: {error}", remedy=remedy) from error
    if number != FORMAT:
        raise ModelError(
            f"{folder / MANIFEST}: format {number}",
            expected=f"format {FORMAT}, which this version of transfuse reads",
            remedy="Install the version of transfuse that wrote it, or a newer one.",
        )
    file = folder / DIFFERENCE
    if not file.exists() or _sha256(file) != digest:
        raise ModelError(
            f"{file}: {'damaged' if file.exists() else 'missing'}",
            expected=f"the file with SHA-256 {digest[:12]}…",
            remedy="Copy the folder again, or fit the model again.",
        )
    try:
        return manifest, load_file(file)
    except SafetensorError as error:
        raise ModelError(f"{file}: not safetensors: {error}", remedy="Fit the model again.") from error


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

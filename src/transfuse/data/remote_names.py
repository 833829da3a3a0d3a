"""How remote models are named: ``openai:MODEL`` and ``google:MODEL``."""

from __future__ import annotations

from transfuse.errors import BackboneError

KINDS = ("openai", "google")
"""What may stand before the colon."""


def is_remote(reference: str) -> bool:
    """Whether a reference names a model behind an API."""
    return reference.partition(":")[0] in KINDS and ":" in reference


def parse(reference: str) -> tuple[str, str]:
    """The kind of service and the model's name.

    Raises:
        BackboneError: no kind that is known, or no name behind it.
    """
    kind, _, model = reference.partition(":")
    if kind not in KINDS or not model.strip() or model != model.strip():
        raise BackboneError(
            f"'{reference}': no remote model",
            expected="openai:MODEL or google:MODEL",
            remedy="Write the model's name as its service has it, such as openai:gpt-4.1-mini.",
        )
    return kind, model

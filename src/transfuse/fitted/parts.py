"""Many texts, in parts of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transfuse.errors import ModelError

AT_ONCE = 8192
"""Texts that are tokenised, sorted by length and predicted together."""


def parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Texts in parts that are tokenised and padded together, so that memory does not grow with their number."""
    return (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))


def refuse_what_is_no_text(texts: Sequence[object]) -> None:
    """Refuse a lone string and items that are no strings.

    Raises:
        ModelError: the message names the item.
    """
    if isinstance(texts, str):
        raise ModelError("got one string", expected="a list of texts", remedy="Write [text].")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ModelError(
                f"text {i + 1} is {text!r}, of type {type(text).__name__}",
                expected="a string",
                remedy="Convert it, or drop it first.",
            )

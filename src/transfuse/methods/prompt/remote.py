"""How a remote model is asked to write: in turns of a conversation, and no longer than known answers by far."""

from __future__ import annotations

from collections.abc import Sequence

from transfuse.backbones.decoding import Decoding
from transfuse.backbones.remote.conversation import TEXT, Conversation
from transfuse.engine.answers import Pairs
from transfuse.errors import RecipeError
from transfuse.methods.pairs import SPARE_SHARE, SPARE_TOKENS
from transfuse.tasks.writing import Writing

BYTES_A_TOKEN = 3
"""Bytes of an answer in a token, fewer than usual: no answer should be cut for that."""
ALONE = "Reply with the answer alone."
ONWARD = "Continue the text from where it ends. Reply with the continuation alone."


def conversation_of(task: Writing, template: str | None, shots: Sequence[tuple[str, str]]) -> Conversation:
    """How requests are shown: in a template that is given, else as they are where the kind talks, else in the kind's.

    Raises:
        RecipeError: a template without ``{text}``.
    """
    shown = template or (TEXT if task.chats else task.shown())
    if shown.count(TEXT) != 1:
        raise RecipeError(
            f"template: {shown!r}",
            expected="{text} once, where the request goes",
            remedy='Write it like "English: {text}\\nChinese:".',
        )
    return Conversation(ONWARD if task.kind == "code" else ALONE, shown, tuple(shots), task.max_tokens)


def remote_decoding(task: Writing, known: Pairs, beams: int, max_new_tokens: int | None) -> Decoding:
    """How answers are drawn: the likeliest, half as long again as the longest known one.

    Raises:
        RecipeError: beams, which no service offers, or no token.
    """
    if beams != 1 or (max_new_tokens is not None and max_new_tokens < 1):
        raise RecipeError(
            f"beams: {beams}, max_new_tokens: {max_new_tokens}",
            expected="1 beam of a remote model, and 1 token or more",
            remedy="Leave beams out where a remote model is asked.",
        )
    longest = max((len(answer.encode("utf-8", errors="replace")) for answer in known.answers), default=0)
    most = min(task.max_new_tokens, round(SPARE_SHARE * longest / BYTES_A_TOKEN) + SPARE_TOKENS)
    return Decoding(max_new_tokens or most, stop=task.stop, strip=task.kind != "code")

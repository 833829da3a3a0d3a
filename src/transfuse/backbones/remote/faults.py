"""What may come instead of an answer: four faults, which no user ever sees as such."""

from __future__ import annotations


class Fault(Exception):
    """A call that gave no answer; its text holds no key."""


class Retry(Fault):
    """What may go well the next time: too many requests, an error of the service, a cut connection, no answer in time.

    Args:
        text: what happened.
        after: seconds that the service asks to wait, or None.
        doubtful: whether the answer may have been written, and will be billed, although it did not arrive.
    """

    def __init__(self, text: str, *, after: float | None = None, doubtful: bool = False) -> None:
        super().__init__(text)
        self.after, self.doubtful = after, doubtful


class Refused(Fault):
    """The service does not answer such a question, and bills nothing."""


class Unoffered(Fault):
    """The service does not offer a part of what was asked for.

    Args:
        part: ``logprobs``, ``structure``, ``temperature``, ``seed`` or ``max_tokens``.
        text: what the service says.
    """

    def __init__(self, part: str, text: str) -> None:
        super().__init__(text)
        self.part = part


class Failed(Fault):
    """What will not go well the next time either: a wrong key, an unknown model, a question that is too long.

    Args:
        text: what happened.
        remedy: what to do.
    """

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.remedy = remedy

"""A remote model: many questions at once, each answered once and paid once, within limits and a budget."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from transfuse.backbones.remote.cache import Answers
from transfuse.backbones.remote.faults import Failed, Fault, Refused, Retry, Unoffered
from transfuse.backbones.remote.limits import Limits, Stopped
from transfuse.backbones.remote.prices import Price, own_file, price_of
from transfuse.backbones.remote.purse import Amount, Purse, Spent
from transfuse.backbones.remote.requests import Reply, Request
from transfuse.backbones.remote.retries import Patience
from transfuse.data.remote_names import parse
from transfuse.errors import BackboneError

Tick = Callable[[float], None]
Found = TypeVar("Found")
POLL, USUAL_SECONDS = 0.05, 2.0
"""Seconds between two looks for an answer that is being asked for elsewhere; seconds of an answer before the first."""


class Service(Protocol):
    """One service with one model: makes single calls."""

    name: str
    model: str

    def ask(self, request: Request, without: Iterable[str]) -> Reply:
        """One call; raises a `Fault` where there is no answer."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a remote model is asked.

    Args:
        concurrency: calls under way at a time.
        requests_per_minute, tokens_per_minute: most of each, or None.
        timeout_seconds: for a connection, and for each silence of the service.
        samples: answers drawn to a text where log-probabilities are not offered.
        thinking_tokens: room before each answer, for models that think first.
        patience: how often and how late a call is tried again.
    """

    concurrency: int = 4
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout_seconds: float = 60.0
    samples: int = 5
    thinking_tokens: int = 0
    patience: Patience = dataclasses.field(default_factory=Patience)


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What some questions will take.

    Args:
        calls: questions that are not answered yet.
        cached: questions whose answers are known.
        likely, most: tokens and money as they are likely to be, and in the worst case without a call made twice.
        seconds: as calls took so far, and as the limits ask for.
        price: where the price comes from; empty where none is known.
    """

    calls: int
    cached: int
    likely: Amount
    most: Amount
    seconds: float
    price: str


class RemoteModel:
    """A model behind an API.

    Args:
        reference: ``openai:MODEL`` or ``google:MODEL``.
        service: makes single calls.
        purse: what pays.
        settings: see `Settings`.
        answers: the cache; the user's own by default.
        window: seconds of a minute, for limits; less in tests.

    Attributes:
        unoffered: parts of requests that the service has been found not to offer, see `Unoffered`.
        offered: parts that it has been found to offer.

    Raises:
        BackboneError: money is limited, and no price is known.
    """

    def __init__(
        self,
        reference: str,
        service: Service,
        purse: Purse,
        settings: Settings | None = None,
        *,
        answers: Answers | None = None,
        window: float = 60.0,
    ) -> None:
        self.reference, self.service, self.purse = reference, service, purse
        self.settings = settings or Settings()
        self.answers = answers or Answers()
        self.price = _known_price(reference, service, purse)
        self.unoffered: set[str] = set()
        self.offered: set[str] = set()
        self._limits = Limits(self.settings.requests_per_minute, self.settings.tokens_per_minute, window=window)
        self._chance = random.Random()

    def complete(self, requests: Sequence[Request], tick: Tick = lambda share: None) -> list[Reply]:
        """Answers to N questions, in their order; equal questions are asked once.

        What is paid is kept in the cache at once: after an error, or a kill, the same call asks for the rest alone.

        Args:
            requests: the questions.
            tick: told of the share that is answered.

        Raises:
            OverBudget: the next call does not fit into the budget.
            BackboneError: the service does not answer, or refuses a question for good.
            OutputError: the cache cannot be written.
        """
        return self._together(self._answer, requests, tick)

    def attempt(self, requests: Sequence[Request]) -> list[Reply | BackboneError]:
        """The same, but a question without an answer ends no other one: its error stands in its place.

        Raises:
            OutputError: the cache cannot be written.
        """
        return self._together(self._answer_or_error, requests)

    def _together(
        self,
        answer: Callable[[str, Request, threading.Event], Found],
        requests: Sequence[Request],
        tick: Tick = lambda share: None,
    ) -> list[Found]:
        """What a function gives for each question, several at a time; the first error that it raises ends the rest."""
        keys = [self._key(request) for request in requests]
        first = dict(zip(keys, requests, strict=True))
        found: dict[str, Found] = {}
        stop = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(self.settings.concurrency, "transfuse-remote") as pool:
            try:
                futures = {pool.submit(answer, key, first[key], stop): key for key in first}
                for future in concurrent.futures.as_completed(futures):
                    found[futures[future]] = future.result()
                    tick(len(found) / len(first))
            except BaseException:  # those under way end, and are kept; the others are not begun
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return [found[key] for key in keys]

    def forecast(self, requests: Sequence[Request]) -> Forecast:
        """What N questions will take, without asking any."""
        questions = {self._key(request): request for request in requests}
        open_ones = [request for key, request in questions.items() if self.answers.get(key) is None]
        likely = [(request.likely_input_tokens, request.max_tokens // 2) for request in open_ones]
        most = [(request.most_input_tokens, request.max_tokens) for request in open_ones]
        seconds = self.seconds_each * len(open_ones)
        if self.settings.requests_per_minute is not None:
            seconds = max(seconds, 60 * (len(open_ones) / self.settings.requests_per_minute - 1))
        if self.settings.tokens_per_minute is not None:
            seconds = max(seconds, 60 * (sum(map(sum, likely)) / self.settings.tokens_per_minute - 1))
        price = self.price.told if self.price else ""
        return Forecast(
            len(open_ones), len(questions) - len(open_ones), self._amount(likely), self._amount(most), seconds, price
        )

    def worst(self, request: Request) -> Amount:
        """The most that one question takes."""
        return self._amount([(request.most_input_tokens, request.max_tokens)])

    @property
    def seconds_each(self) -> float:
        """Seconds of a call where others are under way, as calls took so far; a guess before the first."""
        seconds = self.answers.seconds(self.service.name, self.service.model)
        return (USUAL_SECONDS if seconds is None else seconds) / self.settings.concurrency

    @property
    def spent(self) -> Spent:
        """What was spent from the purse, by this process and others."""
        return self.answers.spent(self.purse.name)

    def close(self) -> None:
        """Give connections back; the cache stays open as long as the model is used."""
        self.service.close()

    def _key(self, request: Request) -> str:
        return request.key(self.service.name, self.service.model)

    def _amount(self, tokens: Sequence[tuple[int, int]]) -> Amount:
        return Amount(sum(map(sum, tokens)), sum(self._money(*pair) for pair in tokens))

    def _money(self, read: int, written: int) -> int:
        return self.price.of(read, written) if self.price else 0

    def _answer(self, key: str, request: Request, stop: threading.Event) -> Reply:
        """The answer to one question: known, waited for, or asked for until it comes or patience ends."""
        started, failed, let_through = time.monotonic(), 0, False
        known = self.answers.get(key)
        if known is not None:
            return known
        while not stop.is_set():
            if not let_through:
                self._limits.wait(request.likely_input_tokens + request.max_tokens, stop)
            most = (request.most_input_tokens, request.max_tokens)
            what = f"{self.reference}: the next answer"
            claimed = self.answers.claim(key, self.purse, most, self._money(*most), what)
            let_through = claimed is None
            if claimed is None:  # another one asks the same, or will give back what is reserved and not needed
                stop.wait(POLL)
                continue
            found = claimed if isinstance(claimed, Reply) else self._ask(claimed, key, request, most)
            if isinstance(found, Reply):
                return found
            if found is None:
                continue
            failed += 1
            spent = time.monotonic() - started
            delay = self.settings.patience.delay(failed, found.after, spent, self._chance)
            if delay is None:
                raise BackboneError(
                    f"{self.reference}: no answer after {failed} tries in {spent:.0f} s: {found}",
                    expected="a service that answers",
                    remedy="Run again later: what was paid is kept and is not paid again.",
                )
            if found.after is not None:
                self._limits.pause(found.after)
            stop.wait(delay)
        raise Stopped("stopped")

    def _answer_or_error(self, key: str, request: Request, stop: threading.Event) -> Reply | BackboneError:
        try:
            return self._answer(key, request, stop)
        except BackboneError as error:
            return error

    def _ask(self, call: int, key: str, request: Request, most: tuple[int, int]) -> Reply | Retry | None:
        """One call that is reserved, and its settlement; None where it is to be made anew without a part."""
        without, started = frozenset(self.unoffered), time.monotonic()
        try:
            reply = self.service.ask(request, without)
        except Refused as fault:
            reply = Reply(str(fault), "refused", 0, 0)
        except Fault as fault:
            return self._without_answer(call, fault, without)
        except BaseException:
            self.answers.doubt(call)
            raise
        reply = self._priced(reply, most)
        self.answers.settle(call, key, self.service.name, self.service.model, reply, time.monotonic() - started)
        return reply

    def _without_answer(self, call: int, fault: Fault, without: frozenset[str]) -> Retry | None:
        """What a call without an answer cost, and whether it is tried again."""
        if isinstance(fault, Retry):
            (self.answers.doubt if fault.doubtful else self.answers.release)(call)
            return fault
        self.answers.release(call)
        if isinstance(fault, Unoffered) and fault.part not in without:
            self.unoffered.add(fault.part)
            return None
        remedy = fault.remedy if isinstance(fault, Failed) else "Choose another model, or another service."
        raise BackboneError(f"{self.reference}: {fault}", expected="an answer of the service", remedy=remedy)

    def _priced(self, reply: Reply, most: tuple[int, int]) -> Reply:
        """An answer with what it cost: what the service does not count, counts at its worst case."""
        read = most[0] if reply.input_tokens is None else reply.input_tokens
        written = most[1] if reply.output_tokens is None else reply.output_tokens
        return dataclasses.replace(
            reply, input_tokens=read, output_tokens=written, picodollars=self._money(read, written)
        )


def open_model(reference: str, purse: Purse | None = None, settings: Settings | None = None) -> RemoteModel:
    """A remote model as the environment has it: its key, its address, its price.

    Args:
        reference: ``openai:MODEL`` or ``google:MODEL``.
        purse: what pays; without one nothing is limited.
        settings: see `Settings`.

    Raises:
        BackboneError: no such reference, no SDK, no key, or money is limited and no price is known.
    """
    settings = settings or Settings()
    kind, model = parse(reference)
    service: Any
    if kind == "openai":
        from transfuse.backbones.remote.of_openai import OpenAIService

        service = OpenAIService(reference, model, settings.timeout_seconds)
    else:
        from transfuse.backbones.remote.of_google import GoogleService

        service = GoogleService(reference, model, settings.timeout_seconds)
    return RemoteModel(reference, service, purse or Purse(f"without a limit: {reference}"), settings)


def _known_price(reference: str, service: Service, purse: Purse) -> Price | None:
    """The price of a model, without which money cannot be limited."""
    price = price_of(service.name, service.model)
    if price is None and purse.picodollars is not None:
        raise BackboneError(
            f"{reference}: no price is known of '{service.model}' at {service.name}, and the budget limits money",
            expected=f"an entry of this service and this model in {own_file()}",
            remedy="Write one, as docs/remote.md shows, or limit tokens instead of money.",
        )
    return price

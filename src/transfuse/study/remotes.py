"""The remote models of a study: opened once, forecast before they are asked, paid from one purse."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from transfuse.advice.candidates import Candidate
from transfuse.backbones.remote import Request, is_remote
from transfuse.backbones.remote.model import RemoteModel, Settings, open_model
from transfuse.backbones.remote.prices import dollars
from transfuse.backbones.remote.purse import Amount, OverBudget, Purse
from transfuse.data.remote_keys import Remote, RemoteBudget
from transfuse.fitted.remote import Asked
from transfuse.study.recipe import Recipe


class Outlook(NamedTuple):
    """What a candidate will cost.

    Args:
        calls, cached: questions of its validation that are asked, and that are answered already.
        likely, most: of its validation.
        test: of reading the test, at most.
        seconds: of its validation.
        each: seconds of a text.
    """

    calls: int
    cached: int
    likely: Amount
    most: Amount
    test: Amount
    seconds: float
    each: float

    def to_dict(self) -> dict[str, Any]:
        """For plan.json and report.json."""
        return {
            "calls": self.calls,
            "cached": self.cached,
            "tokens": {"likely": self.likely.tokens, "most": self.most.tokens, "test": self.test.tokens},
            "money": {
                "likely": dollars(self.likely.picodollars),
                "most": dollars(self.most.picodollars),
                "test": dollars(self.test.picodollars),
            },
            "seconds": round(self.seconds, 1),
        }


class Remotes:
    """Opens remote models when they are first needed; all of them are paid from the study's purse.

    Args:
        recipe: says what they may cost and how they are asked.

    Attributes:
        purse: the purse's name, by which a resume goes on with it; empty where no remote model is named.
        outlooks: what was forecast of candidates, by id.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._keys = recipe.remote or Remote()
        teachers = [source.teacher for source in recipe.sources if source.teacher]
        self.named = [r for r in dict.fromkeys((*recipe.backbones, *teachers)) if is_remote(r)]
        self.purse = f"{recipe.name} {secrets.token_hex(8)}" if self.named else ""
        self.outlooks: dict[str, dict[str, Any]] = {}
        self._models: dict[str, RemoteModel] = {}

    def of(self, reference: str) -> RemoteModel | None:
        """The model of a reference; None where that is no remote one.

        Raises:
            BackboneError: no key, no SDK, or no price.
        """
        if not is_remote(reference):
            return None
        if reference not in self._models:
            keys = self._keys
            settings = Settings(
                concurrency=keys.concurrency,
                requests_per_minute=keys.requests_per_minute,
                tokens_per_minute=keys.tokens_per_minute,
                timeout_seconds=keys.timeout_seconds,
                samples=keys.samples,
                thinking_tokens=keys.thinking_tokens,
            )
            self._models[reference] = open_model(reference, self._purse, settings)
        return self._models[reference]

    @property
    def _purse(self) -> Purse:
        budget = self._keys.budget
        return Purse.of(self.purse, budget.money if budget else None, budget.tokens if budget else None)

    def adopt(self, path: Any) -> None:
        """Let a path that was loaded ask through this study's model, from its purse."""
        asked = getattr(path, "asked", None)
        model = None if asked is None else self.of(asked.reference)
        if model is not None:
            path.asked = Asked.of(model)

    def seconds_each(self, reference: str) -> float:
        """Seconds of a call, others being under way, as calls took so far."""
        model = self.of(reference)
        assert model is not None
        return model.seconds_each

    def affordable(self, reference: str, requests: Sequence[Sequence[Request]], share: float) -> int:
        """How many texts may be asked about, each with its requests, within a share of what is left of the budget."""
        model = self.of(reference)
        assert model is not None
        tokens, money = self._purse.room(model.spent.whole)
        used = [0, 0]
        for count, one in enumerate(requests):
            for amount in map(model.worst, one):
                used = [used[0] + amount.tokens, used[1] + amount.picodollars]
            if any(
                room is not None and spent > share * room for spent, room in zip(used, (tokens, money), strict=True)
            ):
                return count
        return len(requests)

    def outlook(self, candidate: Candidate, requests: Sequence[Request], texts: int, test: int) -> Outlook:
        """What a candidate will cost.

        Args:
            candidate: of a remote model.
            requests: what its validation asks, at worst.
            texts: the texts of these.
            test: rows of the test, which nobody has seen: each is taken for the dearest of the validation.
        """
        model = self.of(candidate.backbone)
        assert model is not None
        forecast = model.forecast(requests)
        each = len(requests) / max(texts, 1)
        dearest = [model.worst(request) for request in requests]
        tokens, money = (max((amount[i] for amount in dearest), default=0) for i in (0, 1))
        asked = round(test * each)
        found = Outlook(
            forecast.calls,
            forecast.cached,
            forecast.likely,
            forecast.most,
            Amount(asked * tokens, asked * money),
            forecast.seconds,
            each * model.seconds_each,
        )
        self.outlooks[candidate.id] = {**found.to_dict(), "price": forecast.price}
        return found

    def barred(
        self, candidates: Sequence[Candidate], outlooks: Mapping[str, Outlook], done: Sequence[str]
    ) -> dict[str, str]:
        """The candidates that do not fit into the budget, by id, and why; taken in their order while they fit.

        Room for reading the test with the dearest of those that fit, or have run, is kept.
        """
        if not self.named:
            return {}
        model = self.of(self.named[0])
        spent = Amount(0, 0) if model is None else model.spent.whole
        reserve = _dearest([self._test(identifier) for identifier in done])
        out = {}
        for candidate in candidates:
            outlook = outlooks.get(candidate.id)
            if outlook is None or candidate.id in done:
                continue
            kept = _dearest([reserve, outlook.test])
            wanted = Amount(outlook.most.tokens + kept.tokens, outlook.most.picodollars + kept.picodollars)
            try:
                self._purse.refuse(spent, wanted, f"{candidate.id}, with the test,")
            except OverBudget as error:
                out[candidate.id] = error.found
                continue
            spent = Amount(spent.tokens + outlook.most.tokens, spent.picodollars + outlook.most.picodollars)
            reserve = kept
        return out

    def _test(self, identifier: str) -> Amount:
        told = self.outlooks.get(identifier)
        if told is None:
            return Amount(0, 0)
        return Amount(told["tokens"]["test"], round(told["money"]["test"] * 10**12))

    def plan(self) -> dict[str, Any]:
        """For plan.json; empty where no remote model is named."""
        return {"remote": {"purse": self.purse, "forecast": self.outlooks}} if self.named else {}

    def told(self, text: str) -> list[str]:
        """A line for each forecast, before the first call."""
        return [
            text.format(
                id=identifier,
                calls=f["calls"],
                cached=f["cached"],
                tokens=f["tokens"]["likely"],
                most=f["tokens"]["most"],
                money=f["money"]["likely"],
                dear=f["money"]["most"],
                test=f["money"]["test"],
                price=f["price"] or "-",
            )
            for identifier, f in self.outlooks.items()
        ]

    def go_on(self, purse: str) -> None:
        """Pay from a purse that was begun before."""
        if purse != self.purse:
            self.purse, self._models = purse, {}

    def obey(self, decided: Mapping[str, Any]) -> None:
        """Go on with the purse of a plan."""
        if "remote" in decided:
            self.go_on(decided["remote"]["purse"])
            self.outlooks = dict(decided["remote"]["forecast"])

    def report(self) -> dict[str, Any]:
        """For report.json: the budget, what was forecast and what was spent; empty where no remote model is named."""
        opened = [model for reference in self.named if (model := self.of(reference)) is not None]
        if not opened:
            return {}
        spent, budget = opened[0].spent, self._keys.budget or RemoteBudget.model_construct()
        return {
            "remote": {
                "budget": {"money": budget.money, "tokens": budget.tokens},
                "spent": {
                    "calls": spent.calls,
                    "input_tokens": spent.input_tokens,
                    "output_tokens": spent.output_tokens,
                    "money": dollars(spent.picodollars),
                },
                "doubtful": {
                    "calls": spent.doubtful,
                    "tokens": spent.doubtful_tokens,
                    "money": dollars(spent.doubtful_picodollars),
                },
                "forecast": self.outlooks,
                "models": {
                    model.reference: {
                        "service": model.service.name,
                        "price": model.price.told if model.price else "",
                        "unoffered": sorted(model.unoffered),
                    }
                    for model in opened
                },
            }
        }

    def asset(self, reference: str) -> dict[str, Any]:
        """How the report names a remote model: nobody knows its weights."""
        return {"reference": reference, "hash": "", "licence": "", "parameters": 0}

    def about(self, reference: str) -> dict[str, Any]:
        """How a manifest names a remote model."""
        return {
            "reference": reference,
            "resolved": reference,
            "revision": "",
            "licence": "",
            "family": "remote",
            "layers": 0,
            "unsafe": False,
        }


def _dearest(amounts: Sequence[Amount]) -> Amount:
    """The largest of each kind."""
    return Amount(max((a.tokens for a in amounts), default=0), max((a.picodollars for a in amounts), default=0))

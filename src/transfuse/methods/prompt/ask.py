"""Prompting for tasks that write: a decoder is asked, zero-shot or with demonstrations, and its answer is taken."""

from __future__ import annotations

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.remote.model import RemoteModel
from transfuse.engine.answers import Ask, Consult, Pairs
from transfuse.engine.jobs import Job, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.pairs import decoding_of, form_of, pairs_of
from transfuse.methods.prompt.remote import conversation_of, remote_decoding
from transfuse.tasks.writing import Writing

SPREADS = {"similar": 0.0, "diverse": 0.3}
"""Ways of choosing demonstrations for each request, and what being unlike each other counts there."""


class Asking:
    """Asks a decoder with a few examples of the target before each request (Brown et al. 2020); nothing is trained.

    Choose it where there are hardly any answers and the decoder is good. Costs a pass over each prompt and a step a
    token of the answer; the demonstrations are read once.
    """

    family, reads, uses_sources, counterpart = "prompt", "decoder", False, None
    uses_related, weighs, alone = False, False, None

    def plan(
        self,
        task: Writing,
        backbone: Backbone | RemoteModel | None,
        data: TransferData,
        seed: int,
        *,
        shots: int = 8,
        choose: str = "drawn",
        draw: int = 0,
        template: str | None = None,
        beams: int = 1,
        max_new_tokens: int | None = None,
    ) -> Job:
        """One prompt for all requests.

        Args:
            shots: demonstrations; 0 asks without any.
            choose: ``drawn`` by the seed, the same for all requests and read once; ``similar`` to each request by their
                words (Liu et al. 2022), or also unlike each other, ``diverse``: a pass over each whole prompt.
            draw: which draw of the seed; a list of several is searched by validation, as of every setting.
            template: how a request is shown; by default the task's, or the model's own chat template.
            beams: width of the beam; 1 takes the likeliest token each time.
            max_new_tokens: longest answer; by default half as long again as the longest known one, or what the task
                allows where none is known.
        """
        assert backbone is not None
        if shots < 0:
            raise RecipeError(f"prompt.shots: {shots}", expected="0 or more", remedy="Use 0 for a zero-shot prompt.")
        if choose not in ("drawn", *SPREADS):
            ways = ", ".join(("drawn", *SPREADS))
            raise RecipeError(f"prompt.choose: '{choose}'", expected=f"one of {ways}", remedy="Correct the setting.")
        known = pairs_of(data.target, target=bool(shots))
        looked_up = choose in SPREADS and shots > 0
        if isinstance(backbone, RemoteModel):
            drawn = [] if looked_up else _drawn(known, shots, [seed, draw])
            talk = conversation_of(task, template, drawn)
            decoding = remote_decoding(task, known, beams, max_new_tokens)
            memory = (known, shots, SPREADS[choose]) if looked_up else ()
            return Job((Consult(talk, (), decoding, *memory),), 0, seed)
        form = form_of(task, backbone, template, [] if looked_up else _drawn(known, shots, [seed, draw]))
        decoding = decoding_of(task, backbone, form, known, beams, max_new_tokens)
        ask = Ask(form, decoding, known, shots, SPREADS[choose]) if looked_up else Ask(form, decoding)
        return Job((ask,), 0, seed)


def _drawn(known: Pairs, shots: int, seed: list[int]) -> list[tuple[str, str]]:
    """Some pairs, of the shorter three quarters: one very long demonstration would cost more than it tells."""
    if not shots:
        return []
    lengths = np.array([len(t) + len(a) for t, a in zip(known.texts, known.answers, strict=True)])
    short = np.flatnonzero(lengths <= np.quantile(lengths, 0.75))
    chosen = np.random.default_rng(seed).permutation(short)[:shots]
    return [(known.texts[i], known.answers[i]) for i in chosen]

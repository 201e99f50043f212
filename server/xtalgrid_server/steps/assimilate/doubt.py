"""What gets no outcome because a person should look.

Images that look like UV light, since the networks learned bright field: the worker only says what the image looks like;
it is decided here, where the image's name and the configuration are known. Then nothing downstream can take the
networks' word: neither score table nor lists, alerts or frames.

And wells that are undecided by the unit's options, of which older workers do not know.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.decision import or_undecided
from xtalgrid_core.outcomes import Outcome

from ...domain.light import Light, LightRules


def judged(
    answers: Sequence[wire.Answer], names: Sequence[str], light: LightRules, options: wire.Options
) -> tuple[wire.Answer, ...]:
    """Return the answers for images of these names, undecided where the options say so or an image looks like UV light.

    What the configuration names as visible does not look like UV light.
    """
    pairs = zip((unsure(answer, options) for answer in answers), names, strict=True)
    return tuple(answer if light.is_named(name, Light.VISIBLE) else doubted(answer) for answer, name in pairs)


def unsure(answer: wire.Answer, options: wire.Options) -> wire.Answer:
    """Return the answer as undecided, with what the networks say, if it is not as probable as the options ask."""
    if isinstance(answer, wire.Failed) or answer.groups is None:  # of a very old worker
        return answer
    outcome = or_undecided(answer.outcome, answer.groups, options)
    return answer if outcome is answer.outcome else msgspec.structs.replace(answer, outcome=outcome, score=None)


def is_doubted(answer: wire.Answer) -> bool:
    """Tell whether an answer is undecided because its image looks like UV light; see `doubted`."""
    return isinstance(answer, wire.Scored) and answer.looks_like_uv and answer.groups is None


def doubted(answer: wire.Answer) -> wire.Answer:
    """Return the answer as undecided, without what the networks say, if its image looks like UV light."""
    if isinstance(answer, wire.Failed) or not answer.looks_like_uv:
        return answer
    return msgspec.structs.replace(
        answer,
        outcome=Outcome.UNDECIDED,
        score=None,
        probability=0.0,
        p_crystal=0.0,
        groups=None,
        own_groups=None,
        second_opinion=None,
        boxes=(),
    )

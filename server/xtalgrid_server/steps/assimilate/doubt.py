"""Images that look like UV light get no outcome: the networks learned bright field, and a person should look.

The worker only says what the image looks like; it is decided here, where the image's name and the configuration are
known. Then nothing downstream can take the networks' word: neither score table nor lists, alerts or frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome

from ...domain.light import Light, LightRules


def judged(answers: Sequence[wire.Answer], names: Sequence[str], light: LightRules) -> tuple[wire.Answer, ...]:
    """Return the answers for images of these names, undecided where an image looks like UV light.

    What the configuration names as visible stands.
    """
    pairs = zip(answers, names, strict=True)
    return tuple(answer if light.is_named(name, Light.VISIBLE) else doubted(answer) for answer, name in pairs)


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

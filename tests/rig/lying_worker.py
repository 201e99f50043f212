"""Do a BOINC job as a dishonest volunteer's worker: every answer is one the rule could give, and none is true.

tests/rig/boinc_end_to_end.py gives this file to a client, which starts it in its slot.
"""

from __future__ import annotations

from typing import Any

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES, Group, Outcome
from xtalgrid_worker import cli
from xtalgrid_worker import run as worker


def main() -> None:
    """Run ``xtalgrid-worker boinc`` with false answers."""
    honest = worker.score_image

    def dishonest(*arguments: Any) -> wire.Scored:
        answer = honest(*arguments)
        claimed = Outcome.CLEAR if answer.outcome.group is Group.CRYSTAL else Outcome.HARVESTABLE
        maxima = tuple(0.97 if outcome is claimed else 0.005 for outcome in CLASSES)
        lied = {"outcome": claimed, "score": claimed.style.score, "probability": 0.97, "probabilities": maxima}
        return msgspec.structs.replace(answer, **lied, p_crystal=0.97 * (claimed is Outcome.HARVESTABLE), boxes=())

    worker.score_image = dishonest
    cli.main(["boinc"])


if __name__ == "__main__":
    main()

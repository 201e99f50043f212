"""Renew the scores that `xtalgrid-worker selfcheck` expects, after new weights or any change that affects scores.

    python scripts/dev/make_selfcheck.py             score the same well again, into xtalgrid_worker/check/expected.json
    python scripts/dev/make_selfcheck.py --render    render the well again too, if the renderer has changed

It refuses a well in which the weights find no crystals, or whose score is so close to a threshold that another
processor might decide differently.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys

import msgspec
from PIL import Image

from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_worker import selfcheck

SEED = 11


def render() -> None:
    """Draw the well: large crystals in a drop, 1024×768 pixels."""
    from xtalgrid_synth import render_well

    um = selfcheck.PIXEL_SIZE_UM
    well = render_well(Outcome.HARVESTABLE, seed=SEED, width=1024, height=768, pixel_size_um=um)
    stream = io.BytesIO()
    Image.fromarray(well.image).save(stream, "JPEG", quality=80)
    selfcheck.WELL.write_bytes(stream.getvalue())


def main() -> None:
    """Score the well with every pair of packaged weights, and write down their answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true", help="render the well again")
    if parser.parse_args().render:
        render()
    scores = []
    for pair in selfcheck.pairs():
        score = selfcheck.score_well(*pair)
        is_near = abs(score.p_crystal - DEFAULTS.crystal_from) <= 2 * selfcheck.TOLERANCE
        if score.outcome.group is not Group.CRYSTAL or is_near:
            answer = f"{score.outcome} at {score.probability:.3f}"
            sys.exit(
                f"classifier {pair[1][:12]}: {answer}: this well is not suitable; choose another SEED, with --render"
            )
        scores.append(score)
        print(f"{score.segmenter[:12]} {score.classifier[:12]}: {score.outcome}, p_crystal {score.p_crystal:.3f}")
    well = hashlib.sha256(selfcheck.WELL.read_bytes()).hexdigest()
    message = msgspec.json.encode(selfcheck.Expectation(well=well, scores=tuple(scores)))
    selfcheck.EXPECTED.write_bytes(msgspec.json.format(message, indent=1) + b"\n")
    print(f"wrote {selfcheck.EXPECTED}")


if __name__ == "__main__":
    main()

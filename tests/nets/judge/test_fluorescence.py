from xtalgrid_core.fluorescence import Glow
from xtalgrid_nets.judge.fluorescence import judge, markdown
from xtalgrid_nets.judge.scoring import Settings
from xtalgrid_synth.uv import Nature


def test_rendered_pairs_are_told_apart_by_the_scores_own_boxes() -> None:
    counts = judge(1, 980_000_000, Settings())
    assert counts == {
        (Nature.PROTEIN, Glow.FLUORESCES): 1,
        (Nature.SALT, Glow.DARK): 1,
        (Nature.CHROMOPHORE, Glow.DARK): 1,
    }
    assert markdown(counts).splitlines()[2] == "| protein | 1 | 0 | 0 |"

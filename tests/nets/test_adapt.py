"""Adapting the last layer to a lab's wells: what is learnt, what is not forgotten, and what comes out."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
onnx = pytest.importorskip("onnx")

from PIL import Image  # noqa: E402

from xtalgrid_core.chops import dense_window  # noqa: E402
from xtalgrid_core.comparison import read_comparison  # noqa: E402
from xtalgrid_core.decision import decide  # noqa: E402
from xtalgrid_core.dense import chop_means  # noqa: E402
from xtalgrid_core.errors import ConfigError  # noqa: E402
from xtalgrid_core.images import network_input  # noqa: E402
from xtalgrid_core.options import DEFAULTS  # noqa: E402
from xtalgrid_core.outcomes import CLASSES, PRIORITY, SCORED_GROUPS, Group, Outcome  # noqa: E402
from xtalgrid_core.pooling import FEATURES, Pooling  # noqa: E402
from xtalgrid_core.weights import PACKAGED, Variant, default_models, find_model  # noqa: E402
from xtalgrid_nets.adapt import candidate  # noqa: E402
from xtalgrid_nets.adapt.candidate import pooling_of  # noqa: E402
from xtalgrid_nets.adapt.choose import LAST_BLOCK, LEAST, Chosen, as_it_is, choose, with_kept  # noqa: E402
from xtalgrid_nets.adapt.decider import Decider, Step, Wells, called, repooled  # noqa: E402
from xtalgrid_nets.adapt.fit import LabWell, Remembered, Settings, fit, well_loss  # noqa: E402
from xtalgrid_nets.adapt.lab import fold_names, read_wells  # noqa: E402
from xtalgrid_nets.adapt.layer import StartingNetwork, TailDecider, TailStep, described  # noqa: E402
from xtalgrid_nets.adapt.run import Plan, _compared, _divided, _notes, adapt, is_adapted, judge_nested  # noqa: E402
from xtalgrid_nets.adapt.start import Start, divide, starting_point  # noqa: E402
from xtalgrid_nets.adapt.tail import Tail  # noqa: E402
from xtalgrid_nets.adapt.windows import FeatureExtractor, Windows  # noqa: E402
from xtalgrid_nets.fit.losses import group_log_p  # noqa: E402
from xtalgrid_nets.judge.scoring import Settings as Scoring  # noqa: E402
from xtalgrid_nets.judge.scoring import score  # noqa: E402
from xtalgrid_nets.judge.truth import Truth  # noqa: E402
from xtalgrid_nets.networks.squeezenet import Fire  # noqa: E402
from xtalgrid_nets.quantize import check_weights  # noqa: E402
from xtalgrid_nets.sets.crops import Segmenter  # noqa: E402
from xtalgrid_nets.states import rebuilt  # noqa: E402
from xtalgrid_scoring.networks import load_network  # noqa: E402
from xtalgrid_synth import render_well  # noqa: E402

BOXES = tuple(dense_window(256 + 48 * 9, 256 + 48 * 9, 48))
PLAIN = Settings()
RIGAKU_NAME = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_01_02_03_HF_99_030_001_RDI.jpg"


def sure_of(*outcomes: Outcome) -> torch.Tensor:
    logits = torch.zeros(len(outcomes), len(CLASSES))
    for row, outcome in enumerate(outcomes):
        logits[row, PRIORITY[outcome]] = 12
    return group_log_p(logits.log_softmax(dim=1))


def test_a_wells_loss_follows_the_decision() -> None:
    clear, precipitate, crystal = Outcome.CLEAR, Outcome.PRECIPITATE, Outcome.HARVESTABLE
    mixed = sure_of(*[clear] * 17, *[precipitate] * 3)
    assert well_loss(mixed, Group.PRECIPITATE, (4, 2, 2, 1), PLAIN) < 0.01, (
        "clear parts are in every drop with precipitate"
    )
    assert well_loss(mixed, Group.CLEAR, (4, 2, 2, 1), PLAIN) > 5, "some sure windows of precipitate make the well one"
    found = sure_of(*[precipitate] * 16, *[crystal] * 4)
    assert well_loss(found, Group.CRYSTAL, (4, 2, 2, 1), PLAIN) < 0.01, "a crystal may lie in precipitate"
    assert well_loss(found, Group.CRYSTAL, (8, 2, 2, 1), PLAIN) > 4, "too few windows agree on it"
    assert well_loss(found, Group.PRECIPITATE, (4, 2, 2, 1), PLAIN) > 5, "a crystal outranks the precipitate"


def layer_of(features: int) -> Tail:
    """A last layer that says nothing."""
    head = torch.nn.Conv2d(features, len(CLASSES), 1)
    for value in head.parameters():
        torch.nn.init.zeros_(value)
    return Tail(head)


def lab(rng: np.random.Generator, group: Group, shown: int) -> LabWell:
    """A well with 100 windows of 8 features; the first feature is high where there is precipitate of a kind that nobody knew."""
    features = rng.normal(0, 0.3, (len(BOXES), 8))
    if group is Group.PRECIPITATE:
        features[rng.choice(len(BOXES), shown, replace=False), 0] += 4
    return LabWell(Windows(features.astype(np.float16), BOXES), group)


def group_of(tail: Tail, windows: Windows) -> Group:
    """The group by the rule that the loss follows."""
    by_group = msgspec.structs.replace(DEFAULTS, rule="group")
    return decide(tail.probabilities(windows), windows.boxes, by_group).outcome.group


def test_it_learns_from_wells_alone_which_windows_show_it_and_forgets_nothing() -> None:
    rng = np.random.default_rng(1)
    start = layer_of(8)
    with torch.no_grad():  # knows crystals by the last feature, and nothing of precipitate
        start.head.weight[PRIORITY[Outcome.HARVESTABLE], 7] = 3
        start.head.bias[PRIORITY[Outcome.CLEAR]] = 6
    crystals = rng.normal(0, 0.3, (60, 8)).astype(np.float16)
    crystals[:, 7] += 4
    remembered = Remembered([Windows(crystals, BOXES[:60])], [np.zeros(60, np.int64)])
    wells = [lab(rng, group, 15) for group in (Group.PRECIPITATE, Group.CLEAR) for _ in range(20)]
    tail = fit(start, wells, remembered, Settings(steps=150, rate=0.05, keep=0))
    new = [lab(rng, group, 15) for group in (Group.PRECIPITATE, Group.CLEAR) for _ in range(10)]
    assert [group_of(start, well.windows) for well in new[:10]] == [Group.CLEAR] * 10
    assert [group_of(tail, well.windows) for well in new] == [Group.PRECIPITATE] * 10 + [Group.CLEAR] * 10
    many = Windows(np.repeat(crystals[:1], len(BOXES), axis=0), BOXES)
    assert group_of(tail, many) is Group.CRYSTAL


def truth(name: str, plate: str = "P1") -> Truth:
    return Truth(Path(f"{name}_01_HF_99.jpg"), "lab", "real", plate, Group.CLEAR)


def test_a_column_is_that_of_the_well_and_not_what_looks_like_one_in_a_date() -> None:
    """Two inspections of each drop must be in one fold, whatever the dates in the names."""
    wells = [
        Truth(Path(f"P1_{day}_HF_{well}.jpg"), "lab", "real", "P1", Group.CLEAR, well=well)
        for well in ("A1a", "H12.30", "AF05b", "R0C7a")
        for day in ("24_11_30", "25_01_07")
    ]
    assert fold_names(wells, "auto") == [f"P1 column {col}" for col in ("01", "12", "05", "07") for _ in range(2)]
    assert fold_names(wells, "auto", r"_(\d\d)_\d\d_\d\d_HF")[:2] == ["P1 column 24", "P1 column 25"], "if asked for"


def test_folds_are_plates_or_columns() -> None:
    wells = [truth("x_003_121121_01_04"), truth("x_003_121121_12_04"), truth("x_003_121121_12_05")]
    assert fold_names(wells, "auto") == ["P1 column 01", "P1 column 12", "P1 column 12"]
    assert fold_names([truth("a", "P1"), truth("b", "P2"), truth("c", "P3")], "auto") == ["P1", "P2", "P3"]
    with pytest.raises(ConfigError, match="--column-from"):
        fold_names([truth("a", "P1")], "column")
    with pytest.raises(ConfigError, match="none are left for judging"):
        fold_names(wells[1:], "column")


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small rendered wells of two columns, and their table; returns the table."""
    folder = tmp_path_factory.mktemp("plate")
    kinds = (Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.PRECIPITATE)
    with (folder / "scores.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["plate", "image", "label"])
        for col in (1, 2):
            for row, outcome in enumerate(kinds, start=1):
                name = f"x_001_250101_{col:02d}_{row:02d}_01_HF_99_030_001_RDI.jpg"
                well = render_well(outcome, seed=10 * col + row, width=640, height=540, pixel_size_um=2.6)
                Image.fromarray(well.image).save(folder / name, quality=92)
                writer.writerow(["P1", name, outcome.group])
    return folder / "scores.csv"


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_what_is_judged_in_the_folds_is_what_the_worker_says(plate: Path, tmp_path: Path, variant: Variant) -> None:
    network = divide(starting_point(None, PACKAGED, variant))
    pooling = pooling_of(PACKAGED)
    assert pooling is not None
    extractor = FeatureExtractor(network.before, network.block, Segmenter(), tmp_path / "seen", pooling.chop_sizes)
    layer, block = Tail(network.head), Tail(network.head, network.block)
    paths = [truth.path for truth in read_wells(plate)][:3]
    answers = score(paths, Scoring(variant=variant), tmp_path / "scores", show=False)
    for path in paths:
        windows = extractor.well(path, with_cells=True)
        p = layer.probabilities(windows)
        assert np.abs(p.max(axis=0) - answers[path].probabilities).max() < 0.03
        assert np.abs(block.probabilities(windows) - p).max() < 0.01, "the cells lead to the same as the windows"
        rough = block.logits([windows], np.random.default_rng(0)).softmax(dim=1).detach().numpy()
        assert np.abs(rough - p).mean() < 0.05, "and so does a ninth of them"
        kept = extractor.well(path)  # from disk
        assert (kept.means == windows.means).all()
        assert kept.boxes == windows.boxes


def test_from_scored_wells_to_a_candidate_that_can_be_promoted(plate: Path, tmp_path: Path) -> None:
    pytest.importorskip("alembic", reason="promotion is the server's")
    from xtalgrid_server.config import from_string
    from xtalgrid_server.steps.system import System

    plan = Plan(wells=plate, out=tmp_path / "candidate", rendered_wells=1, remember_wells=1)
    made = adapt(plan, lambda what, total: nullcontext(lambda: None))
    assert [fold for fold, *_ in made.folds] == ["P1 column 01", "P1 column 02"]
    assert made.left_out == {}
    assert [note[:22] for note in made.notes] == ["all wells are in 2 fol"]
    comparison = read_comparison(plan.out)
    assert comparison == made.comparison
    assert comparison.current == default_models()
    assert comparison.candidate == default_models(plan.out)
    assert comparison.candidate[0] == comparison.current[0], "the segmenter stays"
    assert comparison.candidate[1] != comparison.current[1], "another decision has another name"
    lab, frozen = comparison.sources
    assert (lab.kind, sum(lab.wells.values())) == ("lab", 6)
    assert (frozen.kind, sum(frozen.wells.values())) == ("frozen", 4)
    assert "in use → candidate" in (plan.out / "report.md").read_text()
    assert (is_adapted(PACKAGED), is_adapted(plan.out)) == (False, True)
    with System(from_string("", home=tmp_path / "home")) as system:
        system.promote(plan.out, force="a test", who="jdoe")
        assert system.models_in_use() == comparison.candidate


def test_an_adapted_last_block_is_promoted_scores_new_work_and_is_rolled_back(
    plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The freest step is taken, whatever it gains on six wells."""
    pytest.importorskip("alembic", reason="promotion is the server's")
    from xtalgrid_server.config import from_string
    from xtalgrid_server.steps.system import System

    def freest(
        start: Decider, wells: Wells, remembered: Wells, steps: Sequence[tuple[str, Step]], crystal_from: float
    ) -> Chosen:
        name, step = steps[-1]
        return Chosen(name, step(start, with_kept(wells, remembered)), ())

    monkeypatch.setattr("xtalgrid_nets.adapt.run.choose", freest)
    monkeypatch.setattr("xtalgrid_nets.adapt.layer.patches_of", lambda *_: Remembered())
    monkeypatch.setattr("xtalgrid_nets.adapt.layer.BLOCK_SETTINGS", Settings(steps=5, rate=0.01, wells=2, keep=0))
    monkeypatch.setitem(LEAST, LAST_BLOCK, 6)
    plan = Plan(wells=plate, out=tmp_path / "candidate", rendered_wells=1, remember_wells=1, last_layer=True)
    made = adapt(plan, lambda what, total: nullcontext(lambda: None))
    assert (made.step, {step for *_, step in made.folds}) == (LAST_BLOCK, {LAST_BLOCK})
    (sha256,) = {made.comparison.candidate[1], default_models(plan.out)[1]}
    entry, data = find_model(sha256, "classifier", [plan.out])
    assert entry.variant == "int8"
    adapted, old = (
        rebuilt(file, entry.architecture, "test").state_dict()
        for file in (data, find_model(default_models()[1], "classifier")[1])
    )
    assert {name for name in old if not torch.equal(adapted[name], old[name])} == {
        f"{layer}.{kind}"
        for layer in ("features.12.expand1x1", "features.12.expand3x3", "head")
        for kind in ("weight", "bias")
    }
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(next(plate.parent.glob("*.jpg")), new / RIGAKU_NAME)
    with System(from_string("[grid]\nworkers = 1\n[imager]\npixel_size_um = 2.6\n", home=tmp_path / "home")) as system:
        system.import_folder(new)
        assert system.promote(plan.out, force="a test", who="jdoe") == made.comparison.candidate
        system.create_work(barcodes=["CI022987"])
        system.rollback(why="it was a test", who="jdoe")
        system.create_work(barcodes=["CI022987"])
        system.work()
        assert system.assimilate().failed_units == 0
        used = {origin.options.classifier for origin in system.ledger.scores.origins(1).values()}
        assert used == {sha256, default_models()[1]}, "once before the rollback, once after it"
        assert system.models_in_use() == default_models()


def strange_wells() -> tuple[list[Windows], Wells]:
    """24 wells on four plates, of an unknown kind of precipitate, as above, or clear; a pooling sees nothing of it."""
    rng = np.random.default_rng(1)
    kinds = [Group.PRECIPITATE, Group.CLEAR] * 12
    windows = [lab(rng, kind, shown=30).windows for kind in kinds]
    groups = np.array([SCORED_GROUPS.index(kind) for kind in kinds])
    folds = np.array([f"P{number % 4}" for number in range(24)])
    drops = np.array([described(layer_of(8), well) for well in windows])
    return windows, Wells(drops, np.full((24, 4), np.nan), groups, np.ones(24), folds, np.arange(24))


NOTHING = Decider(Pooling(((0.0,) * FEATURES,) * 4, (0.0,) * 4))
SHORT = Settings(steps=60, rate=0.05)


def test_the_last_layer_is_a_step_whose_pooling_is_fitted_after_it() -> None:
    """The layer learns the strange precipitate, and the pooling reads the new layer."""
    windows, wells = strange_wells()
    start = layer_of(8)
    step = TailStep(lambda lab: start, windows, 24, Remembered(), SHORT)
    fitted = step(NOTHING, wells[:16])
    assert (called(fitted.probabilities(wells[16:])) == wells.groups[16:]).all(), "of wells that it did not see"
    before = called(repooled(NOTHING, wells[:16], 8.0).probabilities(wells[16:]))
    assert (before == wells.groups[16:]).sum() < 8, "which the pooling alone cannot learn from what the old layer says"


def test_of_the_last_block_all_is_fitted_but_its_squeeze_layer() -> None:
    """Cells whose first channel is high where there is the strange precipitate; a ninth of them is looked at."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    net = torch.nn.Module()
    net.features, net.head = torch.nn.Sequential(Fire(3, 4, 6)), torch.nn.Conv2d(12, len(CLASSES), 1)
    boxes = tuple(dense_window(16 * 31, 16 * 31, 48))
    wells = []
    for kind in [Group.PRECIPITATE, Group.CLEAR] * 8:
        cells = np.abs(rng.normal(0, 0.1, (4, 30, 30)))
        if kind is Group.PRECIPITATE:
            cells[0, 5:20, 5:20] += 2
        wells.append(LabWell(Windows(np.zeros((len(boxes), 0), np.float16), boxes, (cells.astype(np.float16),)), kind))
    start = Tail(net.head, net.features[0])
    tail = fit(start, wells, Remembered(), Settings(steps=60, rate=0.02, keep=0))
    assert [group_of(tail, well.windows) for well in wells] == [well.group for well in wells]
    assert torch.equal(tail.block.squeeze.weight, start.block.squeeze.weight)
    tail.put_into(net)
    with torch.inference_mode():
        cells = net.head(net.features[0].expanded(torch.from_numpy(wells[0].windows.squeezed[0]).float()[None]))[0]
    logits = tail.logits([wells[0].windows]).detach().numpy()
    assert np.abs(chop_means(cells.numpy(), boxes) - logits).max() < 1e-4, (
        "it is the end of the network that is written"
    )


@pytest.mark.parametrize("has_block", [False, True])
@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_a_candidate_with_another_end_is_scored_as_in_the_folds(
    plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: Variant, has_block: bool
) -> None:
    monkeypatch.setattr("xtalgrid_nets.adapt.layer.patches_of", lambda *_: Remembered())
    monkeypatch.setitem(LEAST, LAST_BLOCK, 2)
    truths = read_wells(plate)[:2]
    before, data = find_model(default_models(PACKAGED, variant)[1], "classifier")
    start = None if variant == "int8" else PACKAGED / before.file  # int8 is in use
    network = StartingNetwork(PACKAGED, start, (), tmp_path / "seen")
    *_, (_, step) = network.steps(truths, 2, lambda: None)
    divided = divide(starting_point(start, PACKAGED))
    tail = Tail(divided.head, divided.block if has_block else None)
    with torch.no_grad():
        for value in tail.fitted:
            value *= 1.3
    assert before.pooling is not None and before.possible is not None
    decider = TailDecider(tail, Decider(before.pooling), lambda wells: wells)
    network.write(tmp_path / "candidate", decider, before.possible, "")
    answers = score([truth.path for truth in truths], Scoring(weights=tmp_path / "candidate"), tmp_path, show=False)
    for truth, windows in zip(truths, step.windows, strict=True):
        said = answers[truth.path].probabilities
        assert np.abs(tail.probabilities(windows).max(axis=0) - said).max() < 0.005
        assert np.abs(Tail(divided.head).probabilities(windows).max(axis=0) - said).max() > 0.05, "it did change"
    entry, written = find_model(default_models(tmp_path / "candidate")[1], "classifier", [tmp_path / "candidate"])
    assert (entry.variant, entry.origin) == (variant, "")
    if variant == "int8":
        only_numbers_differ(written, data)
        again = Tail(divide(starting_point(None, tmp_path / "candidate")).head)
        assert torch.equal(again.head.weight, tail.head.weight), "what is adapted next starts from it"


def only_numbers_differ(file: bytes, other: bytes) -> None:
    """Check that the runtime takes as long, that workers without an input `pixels` run it, and that no sum overflows."""
    new, old = (onnx.load_from_string(data).graph for data in (file, other))
    assert list(new.node) == list(old.node)
    shapes = [[(value.name, value.data_type, value.dims) for value in graph.initializer] for graph in (new, old)]
    assert shapes[0] == shapes[1]
    check_weights(new, "adapted")
    run = load_network(file, "class_map", "adapted")
    pictures = np.random.default_rng(0).integers(0, 256, (1, 256, 272, 3), np.uint8)
    np.testing.assert_array_equal(run(network_input(pictures)), run(pictures))


def test_folds_within_folds_share_their_fits_and_none_sees_a_well_that_it_was_fitted_to() -> None:
    """Of four plates each is left out, then each of the three others, then each of the two left: 1 + 4 + 6 + 4 fits."""
    windows, wells = strange_wells()
    start = layer_of(8)
    step = TailStep(lambda lab: start, windows, 24, Remembered(), Settings(steps=1))
    steps = (("none", as_it_is), ("last layer", step))
    judge_nested(NOTHING, wells, wells[:0], steps, 5, lambda: None)
    choose(NOTHING, wells, wells[:0], steps)
    assert len(step._fits) == 15
    seen = [(np.frombuffer(fitted, np.int64), well) for fitted, well in step._seen]
    assert all(well not in fitted for fitted, well in seen)


def test_bad_input_is_one_line(plate: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose from: "):
        read_wells(plate, ["elsewhere"])
    with pytest.raises(ConfigError, match="no such file; give --start"):
        starting_point(tmp_path / "none.pt", PACKAGED)
    with pytest.raises(ConfigError, match="only SqueezeNet"):
        divide(Start(torch.nn.Linear(3, 3), "linear", b""))


def wells_of(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "wells.csv").write_text("plate,image,label\n" + "".join(f"P,{name},clear\n" for name in names))
    return folder / "wells.csv"


def test_a_frozen_well_is_known_by_a_copy_of_its_image(tmp_path: Path) -> None:
    mine = wells_of(tmp_path / "lab", "a.jpg", "b.jpg", "gone.jpg")
    for name in ("a", "b"):
        (tmp_path / "lab" / f"{name}.jpg").write_text(name)
    kept = wells_of(tmp_path / "frozen", "copy.jpg")
    (tmp_path / "frozen" / "copy.jpg").write_text("a")
    truths, frozen, left_out = _divided(Plan(wells=mine, out=tmp_path / "out", frozen=(kept,)))
    assert [truth.path.name for truth in truths] == ["b.jpg", "gone.jpg"]
    assert [truth.path.name for truth in frozen] == ["copy.jpg"]
    assert left_out == {}


def test_a_drop_with_a_frozen_image_is_not_fitted_to_at_another_inspection(tmp_path: Path) -> None:
    """The frozen table has no column `well`, but its image is one of the lab's, whose well is known."""
    for name in ("day1", "day9", "other"):
        (tmp_path / f"{name}.jpg").write_text(name)
    mine = tmp_path / "scored.csv"
    rows = ("P,day1.jpg,clear,A1a", "P,day9.jpg,crystal,A1a", "P,other.jpg,clear,A1b")
    mine.write_text("\n".join(("plate,image,label,well", *rows)))
    (tmp_path / "frozen").mkdir()
    kept = tmp_path / "frozen" / "wells.csv"
    kept.write_text("plate,image,label\nP,../day9.jpg,crystal\n")
    truths, frozen, left_out = _divided(Plan(wells=mine, out=tmp_path / "out", frozen=(kept,)))
    assert [truth.path.name for truth in truths] == ["other.jpg"]
    assert left_out == {tmp_path / "day1.jpg": "frozen, since another image of this drop is"}
    (note,) = _notes(truths, frozen, strange_wells()[1])
    assert note.startswith("wells of P are fitted to, where frozen wells are too")


def test_an_image_that_is_there_twice_counts_once_and_not_at_all_if_people_say_both(tmp_path: Path) -> None:
    for name, content in (("a", "1"), ("copy", "1"), ("b", "2"), ("c", "3"), ("other", "3")):
        (tmp_path / f"{name}.jpg").write_text(content)
    (tmp_path / "wells.csv").write_text(
        "plate,image,label\nP1,a.jpg,clear\nP2,copy.jpg,clear\nP2,b.jpg,clear\nP1,c.jpg,clear\nP2,other.jpg,crystal\n"
        "P3,gone.jpg,clear\nP3,gone too.jpg,clear\n"
    )
    truths, _, left_out = _divided(Plan(wells=tmp_path / "wells.csv", out=tmp_path / "out"))
    assert [truth.path.name for truth in truths] == ["a.jpg", "b.jpg", "gone.jpg", "gone too.jpg"]
    assert {path.name: why.rpartition("/")[2] for path, why in left_out.items()} == {
        "copy.jpg": "a.jpg",
        "c.jpg": "other.jpg, which is scored crystal",
        "other.jpg": "c.jpg, which is scored clear",
    }


def test_a_frozen_image_that_nobody_can_score_judges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truths = [Truth(Path(name), "frozen", "real", "P", Group.CRYSTAL) for name in ("a.jpg", "torn.jpg")]
    said = {"now": [Outcome.HARVESTABLE, Outcome.FAILED], "new": [Outcome.CLEAR, Outcome.CLEAR]}
    monkeypatch.setattr(candidate, "outcomes", lambda truths, weights, *rest: said[weights.name])
    (source,), unread = candidate.frozen_sources(truths, Path("now"), Path("new"), tmp_path, 1)
    assert source.wells == {Group.CRYSTAL: 1}
    assert (source.current.right, source.candidate.right) == ({Group.CRYSTAL: 1}, {Group.CRYSTAL: 0})
    assert list(unread) == [Path("torn.jpg")]


def test_two_folds_are_said_to_be_too_few_to_choose_a_step() -> None:
    _, wells = strange_wells()
    assert _notes([], [], wells) == ()
    (note,) = _notes([], [], wells[wells.folds <= sorted(set(wells.folds))[1]])
    assert note.startswith("all wells are in 2 folds")


def test_figures_are_not_given_to_another_run_s_candidate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another run has written its candidate here"):
        candidate.compare(PACKAGED, PACKAGED, ("a" * 64, "b" * 64), [], "", 0.2)
    assert not (PACKAGED / "comparison.json").exists()


def test_wells_whose_images_are_gone_but_for_one_fold_are_refused(plate: Path, tmp_path: Path) -> None:
    there = tmp_path / "x_001_250101_01_01_01_HF_99_030_001_RDI.jpg"
    shutil.copy(plate.parent / there.name, there)
    shutil.copy(plate, tmp_path)
    plan = Plan(wells=tmp_path / plate.name, out=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"all wells \(5 others can't be read\) are in one fold"):
        adapt(plan, lambda *_: nullcontext(lambda: None))


def test_the_weights_in_use_are_never_written_over(tmp_path: Path) -> None:
    plan = Plan(wells=wells_of(tmp_path / "lab", "a.jpg"), out=PACKAGED)
    with pytest.raises(ConfigError, match="holds the weights in use"):
        adapt(plan, lambda *_: nullcontext(lambda: None))


def test_no_plate_that_is_fitted_to_judges(tmp_path: Path) -> None:
    for barcode in ("VA000004", "VA000005"):
        (tmp_path / barcode).mkdir()
        (tmp_path / barcode / "truth.csv").write_text("image,inspection,drop,outcome\na.jpg,1,A1a,clear\n")
    plan = Plan(wells=tmp_path, out=tmp_path / "out", rendered=tmp_path)
    assert [truth.plate for truth in _compared(plan)] == ["VA000004"]
    shutil.rmtree(tmp_path / "VA000004")
    with pytest.raises(ConfigError, match="has only plates that are fitted to"):
        _compared(plan)

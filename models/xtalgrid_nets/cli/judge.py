"""``xtalgrid-train judge``: judge networks, and choose their decision rule and calibration."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.pooling import ChopSize

from .options import FILE, FOLDER, THRESHOLD, Command, finite, scoring_options, weights_options

if TYPE_CHECKING:
    from xtalgrid_core.weights import Variant

    from ..judge.scoring import Settings
    from ..judge.truth import Truth

_marco = click.option(
    "--marco", type=FOLDER, help="Folder that `xtalgrid-train import marco` made: judge MARCO's network as well."
)
_real = click.option(
    "--real", type=FOLDER, multiple=True, help="Folder of sets of real wells with one labels.csv. Repeatable."
)
_wells = click.option(
    "--wells", type=FILE, multiple=True, help="A lab's own CSV table: plate, image, label. Repeatable."
)
_plates = click.option("--plates", type=FOLDER, multiple=True, help="Folder made by `sets render-test`. Repeatable.")
_trained = click.option(
    "--trained", type=FILE, help="CSV table (sha256, use): real images whose use is train are left out."
)
_jobs = click.option(
    "--jobs", type=click.IntRange(1), default=2, show_default=True, help="Number of images scored in parallel."
)


def _settings(threshold: float, options: dict[str, Any]) -> Settings:
    from ..judge.scoring import Settings

    return Settings(
        threshold=threshold,
        rule=options["rule"],
        support=options["support"],
        crystal_from=options["crystal_from"],
        undecided=options["undecided"],
        zoom=options["zoom"],
        exact=options["exact"],
        variant=options["variant"],
        weights=options["weights"],
    )


def _truths(
    real: tuple[Path, ...], wells: tuple[Path, ...], plates: tuple[Path, ...], trained: Path | None
) -> list[Truth]:
    """Read the wells to judge, without the real ones that train."""
    from ..judge.truth import each_once, lab_wells, real_wells, rendered_plates, training_images, without_copies
    from ..sets.arrays import sha256_of

    truths = [truth for folder in real for truth in real_wells(folder)]
    truths += [truth for table in wells for truth in lab_wells(table)]
    if trained:
        left_out, before = training_images(trained), len(truths)
        truths = [truth for truth in truths if not truth.path.is_file() or sha256_of(truth.path) not in left_out]
        say(f"{before - len(truths)} of {before} real wells train, by {trained}, and are left out", err=True)
    folders = {folder.resolve() for folder in plates}
    if doubled := [name for name, often in Counter(folder.name for folder in folders).items() if often > 1]:
        raise click.ClickException(
            f"--plates: two folders are called {doubled[0]}, by which figures name them; rename one"
        )
    truths += [truth for folder in plates for truth in rendered_plates(folder)]
    if not truths:
        raise click.UsageError("there are no wells to judge; give --real, --wells or --plates")
    listed = each_once(truths)
    kept = without_copies(listed)
    if len(kept) < len(listed):
        say(f"{len(listed) - len(kept)} of {len(listed)} wells are copies of others, and are left out", err=True)
    return kept


def _refuse_test_plates(truths: Iterable[Truth]) -> None:
    """Refuse to fit to plates of `sets render-test` that networks are judged on."""
    from xtalgrid_synth.evaluation_plates import TEST_PLATES

    test = {plate.barcode for plate in TEST_PLATES}
    for truth in truths:
        if truth.plate in test:
            raise click.ClickException(
                f"{truth.plate} is a plate that networks are judged on, so nothing is fitted to it; "
                "make others with `xtalgrid-train sets render-test FOLDER --validation`"
            )


@click.group(cls=CommandGroup)
def judge() -> None:
    """Judge networks, and choose their decision rule and calibration."""


@judge.command(cls=Command)
@click.argument("out", type=FOLDER)
@_real
@_wells
@_plates
@_trained
@click.option(
    "--threshold",
    "thresholds",
    type=THRESHOLD,
    multiple=True,
    default=(DEFAULTS.threshold, 0.8),
    show_default=True,
    callback=finite,
    help="Minimum probability for a chop to count, for the rules group and published. The first is judged, "
    "the others appear in Table 3. Repeatable.",
)
@_marco
@scoring_options
@_jobs
def evaluate(
    out: Path,
    real: tuple[Path, ...],
    wells: tuple[Path, ...],
    plates: tuple[Path, ...],
    trained: Path | None,
    thresholds: tuple[float, ...],
    marco: Path | None,
    **options: Any,
) -> None:
    """Score wells as a worker does, and judge each source separately: OUT/report.md, report.json and figures.

    Answers are stored in OUT/scores, so that the same command continues after an interruption.
    """
    from xtalgrid_core.weights import PACKAGED, default_models, read_manifest

    from ..judge import report
    from ..judge.judged import called_outcome
    from ..judge.judged import judge as judge_source
    from ..judge.marco import Marco, compare
    from ..judge.scoring import score_wells, version
    from ..judge.truth import by_source

    truths = _truths(real, wells, plates, trained)
    if options["rule"] == "pooled":  # this rule has no threshold
        thresholds = thresholds[:1]
    settings = [_settings(threshold, options) for threshold in dict.fromkeys(thresholds)]
    network = Marco(marco) if marco else None
    judged = []
    compared = []
    for source, wells_of_source in by_source(truths).items():
        say(f"{source}: {len(wells_of_source)} wells", err=True)
        runs = {s.name: score_wells(wells_of_source, s, out / "scores", options["jobs"]) for s in settings}
        opinions = {truth.path: network.call(truth.path) for truth in wells_of_source} if network else None
        judged.append(judge_source(wells_of_source, runs, opinions))
        if opinions is not None:
            ours = next(iter(runs.values()))
            compared += [(truth, called_outcome(ours[truth.path]), opinions[truth.path]) for truth in wells_of_source]
    folder = options["weights"] or PACKAGED
    used = default_models(folder, options["variant"])
    listed = [model for model in read_manifest(folder).models if model.sha256 in used]
    result = report.Report(
        schema=1,
        worker=version(),
        options=settings[0].words,
        weights={f"{m.role} {m.architecture} {m.variant}": m.sha256 for m in listed},
        sources=judged,
        marco=compare(compared) if network else None,
    )
    click.echo(str(report.write(result, out, shlex.join(["xtalgrid-train", *sys.argv[1:]]))))


@judge.command(cls=Command)
@click.option("--marco", type=FOLDER, required=True, help="Folder that `xtalgrid-train import marco` made.")
@click.option(
    "--real", type=FOLDER, multiple=True, help="Folder of sets of real wells with one labels.csv. Repeatable."
)
@click.option("--wells", type=click.IntRange(2), default=40, show_default=True, help="Rendered wells of each class.")
@click.option("--seed", default=990_000_000, show_default=True, help="Seed of the first well.")
@click.option("--json", "record", type=FILE, help="Also write the figures here.")
def critic(marco: Path, real: tuple[Path, ...], wells: int, seed: int, record: Path | None) -> None:
    """Judge the renderer: what MARCO's network calls rendered wells, and how near they come to real ones.

    No network may be trained on these figures, nor on these wells.
    """
    import msgspec

    from xtalgrid_core.files import write_atomically

    from ..judge.critic import criticise, markdown
    from ..judge.marco import Marco
    from ..judge.truth import by_source, real_wells

    sources = by_source(truth for folder in real for truth in real_wells(folder))
    criticism = criticise(Marco(marco), sources, wells, seed)
    click.echo(markdown(criticism), nl=False)
    if record:
        write_atomically(record, msgspec.json.format(msgspec.json.encode(criticism), indent=1) + b"\n")


@judge.command(cls=Command)
@click.argument("plates", type=FOLDER)
@click.option("--work", type=FOLDER, required=True, help="Folder for intermediate results, which later runs use again.")
@weights_options
@_jobs
@click.option(
    "--support",
    type=click.FloatRange(0, 1),
    default=DEFAULTS.support,
    show_default=True,
    help="Support of the rule group.",
)
@click.option("--keep-pooling", is_flag=True, help="Only fit which groups a well may be of, by the pooling there.")
@click.option(
    "--chop-size",
    "chop_sizes",
    type=click.Choice(get_args(ChopSize)),
    multiple=True,
    help="Side in pixels of the chops that are pooled; give it for each size. Default: those of the pooling there.",
)
def calibrate(
    plates: Path,
    work: Path,
    weights: Path | None,
    variant: Variant | None,
    jobs: int,
    support: float,
    keep_pooling: bool,
    chop_sizes: tuple[ChopSize, ...],
) -> None:
    """Calibrate --weights on rendered PLATES that no model is judged on, and write the result to their manifest.

    Make the plates with `sets render-test --validation`. This fits the pooling of the rule pooled, which groups a well
    may be of by its probabilities, and p_crystal of the other rules. The classifier gets another name, because it
    gives other scores.
    """
    from xtalgrid_core.markdown import table
    from xtalgrid_core.outcomes import SCORED_GROUPS

    from ..judge.calibrate import calibrate as fit
    from ..judge.tables import text
    from ..judge.truth import rendered_plates

    if weights is None:
        raise click.UsageError("give --weights: a folder of exported or copied weights; the package's own stay")
    truths = rendered_plates(plates)
    _refuse_test_plates(truths)
    fitted = fit(truths, work / "windows", weights, variant, support, jobs, keep_pooling, chop_sizes or None)
    c = fitted.calibration
    click.echo(
        f"{variant or 'default'} weights, {fitted.wells} wells, {fitted.crystals} crystals; rules group and published: "
        f"p_crystal with slope {c.slope}, intercept {c.intercept}"
    )
    if fitted.possible is not None:
        least = ", ".join(f"{group} {p:g}" for group, p in zip(SCORED_GROUPS, fitted.possible.least, strict=True))
        click.echo(f"groups that {fitted.possible.coverage:.0%} of their own wells leave possible: from {least}")
    if fitted.cutoffs and fitted.calibration_ece is not None and fitted.pooling_ece is not None:
        click.echo(
            f"ECE of p_crystal, each plate by a fit to the others: {fitted.pooling_ece:.3f} (rule pooled), "
            f"{fitted.calibration_ece:.3f} (rules group and published)\n"
        )
        head = ("crystal_from", "crystals found", "other wells opened", "weighted mean")
        rows = [
            (f"{t.crystal_from:g}", text(t.crystals_found), text(t.others_opened), text(t.weighted_mean))
            for t in fitted.cutoffs
        ]
        click.echo("\n".join(table(head, rows)))


@judge.command("second-opinion", cls=Command)
@click.argument("folder", metavar="MARCO", type=FOLDER)
@click.option("--plates", type=FOLDER, multiple=True, help="Rendered plates no model is judged on, to fit to.")
@click.option("--wells", type=FILE, multiple=True, help="Table of real wells, as docs/records/real_wells.csv.")
@click.option("--images", type=FOLDER, default=".", show_default=True, help="Where the tables' relative paths start.")
@click.option("--work", type=FOLDER, required=True, help="Scratch folder, kept for the next run.")
@click.option("--weights", type=FOLDER, help="Folder of our weights (default: the package's own).")
@click.option("--no-fit", is_flag=True, help="Only judge.")
@_jobs
def second_opinion(
    folder: Path,
    plates: tuple[Path, ...],
    wells: tuple[Path, ...],
    images: Path,
    work: Path,
    weights: Path | None,
    no_fit: bool,
    jobs: int,
) -> None:
    """Fit how the second opinions in the folder MARCO are combined with ours, and judge both.

    The fit is to all rendered wells, and to the real ones whose `split` is train; it is written to the folder's
    manifest. The other real wells judge.
    """
    from xtalgrid_core.weights import read_manifest

    from ..judge import second_opinion as second
    from ..judge.truth import rendered_plates

    listed = [second.Well(truth, True) for place in plates for truth in rendered_plates(place)]
    if not no_fit:
        _refuse_test_plates(well.truth for well in listed)
    listed += [well for table in wells for well in second.listed_wells(table, images)]
    second.check_split(listed)
    if not no_fit:
        second.fit_folder(folder, listed, weights, work, jobs)
    for entry in read_manifest(folder).models:
        click.echo(f"{entry.variant} {entry.sha256[:12]}…: {entry.combination}\n")
        if wells:
            click.echo(f"{second.judge(entry, folder, listed, weights, work, jobs)}\n")


@judge.command(cls=Command)
@click.argument("out", type=FOLDER)
@click.option(
    "--real",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A lab's scored wells: a table or folder, as for `adapt`. Repeatable.",
)
@click.option("--source", "only", multiple=True, help="Use only this source of --real. Repeatable.")
@click.option(
    "--simulated", default=500, show_default=True, type=click.IntRange(0), help="Wells to render of each simulated lab."
)
@click.option(
    "--scored",
    "sizes",
    multiple=True,
    type=click.IntRange(10),
    help="Number of scored wells to measure with (default: 50, 150, 500 and 2,000). Repeatable.",
)
@click.option("--last-layer", is_flag=True, help="Try to fit the end of the network, too, as `adapt --last-layer`.")
@click.option("--weights", type=FOLDER, help="Folder of weights to adapt (default: the package's own).")
@_jobs
def adaptation(
    out: Path,
    real: tuple[Path, ...],
    only: tuple[str, ...],
    simulated: int,
    sizes: tuple[int, ...],
    last_layer: bool,
    weights: Path | None,
    jobs: int,
) -> None:
    """Measure what `adapt` gains with few and with many scored wells, at real and at simulated labs.

    Each number is measured where there are more wells, and all wells at last. Everything is kept in OUT, so that a run
    that was stopped continues.
    """
    from xtalgrid_core.weights import PACKAGED

    from ..adapt.curves import SIZES, learning_curves, table
    from .adapt import bar

    points = learning_curves(
        out,
        real,
        only,
        simulated,
        weights or PACKAGED,
        jobs,
        bar,
        last_layer=last_layer,
        sizes=tuple(sorted(sizes)) or SIZES,
    )
    click.echo("\n".join(table(points)))


@judge.command(cls=Command)
@_real
@_wells
@_plates
@_trained
@click.option("--second-opinion", type=click.Path(path_type=Path), help="Folder of a second opinion, or its file.")
@click.option(
    "--below",
    "limit",
    type=click.FloatRange(0, 1),
    default=0.6,
    show_default=True,
    callback=finite,
    help="Value of work.undecided for the table by source.",
)
@click.option("--work", type=FOLDER, required=True, help="Folder for scores, which later runs use again.")
@weights_options
@_jobs
def undecided(
    real: tuple[Path, ...],
    wells: tuple[Path, ...],
    plates: tuple[Path, ...],
    trained: Path | None,
    second_opinion: Path | None,
    limit: float,
    work: Path,
    weights: Path | None,
    variant: Variant | None,
    jobs: int,
) -> None:
    """Tabulate, for values of work.undecided, how many wells are undecided, and how many of the rest are right.

    A second table has each source, and how often the groups that a well may be of hold its own. Only wells with a sure
    judgement count. With a second opinion there are tables for ours alone and for both.
    """
    from ..judge.scoring import Settings, score_wells
    from ..judge.truth import by_source
    from ..judge.undecided import calls, in_total, risk_table, source_table

    sources = by_source(_truths(real, wells, plates, trained))
    settings = Settings(variant=variant, weights=weights, second_opinion=second_opinion)
    answers = []
    for source, truths in sources.items():
        say(f"{source}: {len(truths)} wells", err=True)
        scored = score_wells(truths, settings, work / "scores", jobs)
        answers += [(truth, scored[truth.path]) for truth in truths]
    alone = Settings(variant=variant, weights=weights).options.possible
    runs = {"ours alone": calls(answers, alone, second_opinion is not None)}
    if second_opinion is not None:
        runs["with the second opinion"] = calls(answers, settings.options.possible)
    for name, called in runs.items():
        both = name != "ours alone"
        lines = [f"{name}, all real sources:", "", *risk_table(in_total(called, both)), ""]
        for source in sources:
            rendered = [call for call in called if call.truth.source == source and call.truth.kind == "rendered"]
            lines += [f"{name}, {source}:", "", *risk_table(rendered), ""] if rendered else []
        click.echo("\n".join([*lines, f"{name}, source by source:", "", *source_table(called, limit, both), ""]))


@judge.command(cls=Command)
@click.option("--wells", type=click.IntRange(1), default=40, show_default=True, help="Rendered wells of each nature.")
@click.option("--seed", default=980_000_000, show_default=True, help="Seed of the first well.")
@weights_options
def fluorescence(wells: int, seed: int, weights: Path | None, variant: Variant | None) -> None:
    """Count what the UV images of rendered crystals of protein and of salt say."""
    from ..judge.fluorescence import judge as count
    from ..judge.fluorescence import markdown
    from ..judge.scoring import Settings

    click.echo(markdown(count(wells, seed, Settings(weights=weights, variant=variant))))


@judge.command(cls=Command)
@click.option("--courses", type=click.IntRange(5), default=150, show_default=True, help="Rendered time courses.")
@click.option("--seed", default=971_000_000, show_default=True, help="Seed of the first one.")
@click.option("--fit", "fit_seed", type=int, help="First fit to as many courses, from this seed on.")
@click.option("--real", type=FOLDER, help="Folder of sets of real wells: compare their crystals with themselves too.")
@weights_options
def growth(
    courses: int, seed: int, fit_seed: int | None, real: Path | None, weights: Path | None, variant: Variant | None
) -> None:
    """Judge whether crystals that appeared or grew are told from what stood (p_new), by rendered time courses.

    The package's own intercept and slope are judged; those that --fit prints are for `xtalgrid_core.growth`.
    """
    from ..judge import growth as grows
    from ..judge.scoring import Settings
    from ..judge.truth import real_wells

    settings = Settings(weights=weights, variant=variant)
    if fit_seed is not None:
        intercept, slope = grows.fit([grows.compare(each) for each in grows.examples(courses, fit_seed, settings)])
        click.echo(f"intercept {intercept}, slope {slope}\n")
    click.echo(grows.markdown([grows.compare(each) for each in grows.examples(courses, seed, settings)]))
    if real is not None:
        click.echo("\n" + grows.markdown(list(grows.standing(real_wells(real), settings))))


@judge.command("evaluate-chops", cls=Command)
@click.argument("folder", metavar="SET", type=FOLDER)
@click.argument("states", nargs=-1, required=True, type=FILE)
@click.option(
    "--training",
    default=5000,
    show_default=True,
    type=click.IntRange(0),
    help="Number of training chops to judge on too.",
)
@click.option("--most", type=click.IntRange(1), help="Maximum number of held-out chops (default: all).")
@click.option("--device", default="cpu", show_default=True, help="Device for torch: cpu, cuda.")
@click.option("--out", type=FOLDER, help="Folder for chops.md and chops.json.")
def evaluate_chops(
    folder: Path, states: tuple[Path, ...], training: int, most: int | None, device: str, out: Path | None
) -> None:
    """Judge trained STATES on the held-out chops of a SET: Table 2 of the paper, and missed crystals."""
    import msgspec

    from xtalgrid_core.files import write_atomically

    from ..judge.chops import judge_states, markdown

    judged = judge_states(folder, states, training=training, most=most, device=device)
    click.echo(markdown(judged), nl=False)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "chops.md", markdown(judged).encode())
        write_atomically(out / "chops.json", msgspec.json.format(msgspec.json.encode(judged), indent=1) + b"\n")


@judge.command(cls=Command)
@click.argument("out", type=FOLDER)
@click.option(
    "--plates",
    type=FOLDER,
    multiple=True,
    help="Folder made by `sets render-test --validation`. Repeatable.",
)
@click.option("--wells", type=FILE, multiple=True, help="A lab's own CSV table: plate, image, label. Repeatable.")
@click.option("--state", type=FILE, help="Trained state, of any network, that classifies instead, window by window.")
@click.option(
    "--step", type=click.IntRange(1, 256), default=50, show_default=True, help="Step of these windows, in pixels."
)
@weights_options
@_jobs
def windows(
    out: Path,
    plates: tuple[Path, ...],
    wells: tuple[Path, ...],
    state: Path | None,
    step: int,
    weights: Path | None,
    variant: Variant | None,
    jobs: int,
) -> None:
    """Write the classifier's output for every window of every drop to OUT, for `judge rule` and `judge success`."""
    from ..judge.truth import lab_wells, rendered_plates
    from ..judge.windows import OneByOne, collect

    truths = [truth for folder in plates for truth in rendered_plates(folder)]
    truths += [truth for table in wells for truth in lab_wells(table)]
    if not truths:
        raise click.UsageError("there are no wells; give --plates or --wells")
    trained = OneByOne(state, step) if state else None
    files = collect(truths, out, weights, variant, jobs, trained)
    click.echo(f"{len(files)} plates in {out}")
    if others := sorted({path.name for path in out.glob("*.npz")} - {path.name for path in files}):
        say(
            f"{out}: {len(others)} plates of earlier runs are there too, such as {others[0]}, and `judge rule` and "
            "`judge success` count them; remove those that should not count",
            err=True,
        )


@judge.command(cls=Command)
@click.argument("folder", metavar="WINDOWS", type=FOLDER)
@click.option("--json", "record", type=FILE, help="Also write the figures here.")
def success(folder: Path, record: Path | None) -> None:
    """Print Table 3 of the paper for the wells of WINDOWS: how many of each group are called so.

    By the published rule with the paper's two thresholds, and by a pooling that is fitted to all plates but the one
    judged.
    """
    import msgspec

    from xtalgrid_core.files import write_atomically

    from ..judge.success import markdown, table3
    from ..judge.windows import read

    found = table3(read(folder))
    click.echo(markdown(found), nl=False)
    if record:
        write_atomically(record, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


@judge.command(cls=Command)
@click.argument("folder", metavar="WINDOWS", type=FOLDER)
@click.option(
    "--threshold",
    "thresholds",
    type=float,
    multiple=True,
    default=[n / 20 for n in range(10, 20)],
    show_default=True,
    help="Threshold to try. Repeatable, like the supports and shifts below.",
)
@click.option(
    "--support",
    "supports",
    type=float,
    multiple=True,
    default=[0, 0.1, 0.2, 0.3, 0.4, 0.6],
    show_default=True,
    help="Support to try.",
)
@click.option(
    "--crystal-shift",
    "crystal",
    type=float,
    multiple=True,
    default=[-2, -1, -0.5, 0, 0.5, 1, 2],
    show_default=True,
    help="Shift of the crystals to try.",
)
@click.option(
    "--precipitate-shift",
    "precipitate",
    type=float,
    multiple=True,
    default=[-1, 0, 1],
    show_default=True,
    help="Shift of the precipitates to try.",
)
@click.option(
    "--other-shift",
    "other",
    type=float,
    multiple=True,
    default=[-1, 0, 1],
    show_default=True,
    help="Shift of the group other to try.",
)
@click.option(
    "--others-opened",
    "limits",
    type=float,
    multiple=True,
    default=[0.05, 0.1],
    show_default=True,
    help="Maximum fraction of the other wells opened. Repeatable.",
)
@click.option(
    "--undecided", type=float, default=0.15, show_default=True, help="Maximum fraction of all wells undecided."
)
@click.option("--rows", default=10, show_default=True, help="Number of rules to list for each limit.")
@click.option("--csv", "table", type=FILE, help="File for all rules tried.")
def rule(
    folder: Path,
    thresholds: tuple[float, ...],
    supports: tuple[float, ...],
    crystal: tuple[float, ...],
    precipitate: tuple[float, ...],
    other: tuple[float, ...],
    limits: tuple[float, ...],
    undecided: float,
    rows: int,
    table: Path | None,
) -> None:
    """Try decision rules on WINDOWS, and list those that find the most crystals at each limit of other wells opened.

    Shifts are added to the log-odds of a group's classes.
    """
    from ..judge import rule as rules
    from ..judge.windows import read

    wells = read(folder)
    (current,) = (t for t in rules.sweep(wells, [DEFAULTS.threshold], [DEFAULTS.support]) if t.rule == "group")
    trials = list(rules.sweep(wells, thresholds, supports, crystal, precipitate, other))
    click.echo(
        "\n".join([f"{len(wells.ends)} wells, {len(trials)} rules. The current rule:", "", *rules.lines([current])])
    )
    for limit in limits:
        best = rules.best(trials, limit, undecided, rows)
        head = f"Most crystals found with at most {limit:.0%} of the other wells opened and {undecided:.0%} undecided:"
        click.echo("\n".join(["", head, "", *rules.lines(best)]))
    if table:
        rules.write(trials, table)

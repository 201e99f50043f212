"""``xtalgrid-train judge``: judge networks, and choose their decision rule and calibration."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xtalgrid_core.options import DEFAULTS

from .options import FILE, FOLDER, THRESHOLD, Command, finite, scoring_options, weights_options

if TYPE_CHECKING:
    from xtalgrid_core.weights import Variant

    from ..judge.scoring import Settings

_marco = click.option("--marco", type=FOLDER, help="MARCO's network, as `import marco` wrote it: judge it as well.")
_jobs = click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Images side by side.")


def _settings(threshold: float, options: dict[str, Any]) -> Settings:
    from ..judge.scoring import Settings

    return Settings(
        threshold=threshold,
        rule=options["rule"],
        support=options["support"],
        crystal_from=options["crystal_from"],
        exact=options["exact"],
        variant=options["variant"],
        weights=options["weights"],
    )


@click.group()
def judge() -> None:
    """Judge networks, and choose their decision rule and calibration."""


@judge.command(cls=Command)
@click.argument("out", type=FOLDER)
@click.option("--real", type=FOLDER, multiple=True, help="Folder of sets of real wells with one labels.csv.")
@click.option("--wells", type=FILE, multiple=True, help="A lab's own table: CSV with plate, image, label.")
@click.option("--plates", type=FOLDER, multiple=True, help="Rendered plates, as render-test makes them.")
@click.option(
    "--threshold",
    "thresholds",
    type=THRESHOLD,
    multiple=True,
    default=(DEFAULTS.threshold, 0.8),
    show_default=True,
    callback=finite,
    help="Probability from which a chop counts, by the other rules than pooled. The first is judged, "
    "the others stand in Table 3.",
)
@_marco
@scoring_options
@_jobs
def evaluate(
    out: Path,
    real: tuple[Path, ...],
    wells: tuple[Path, ...],
    plates: tuple[Path, ...],
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
    from ..judge.scoring import score, version
    from ..judge.truth import by_source, lab_wells, real_wells, rendered_plates

    truths = [truth for folder in real for truth in real_wells(folder)]
    truths += [truth for table in wells for truth in lab_wells(table)]
    truths += [truth for folder in plates for truth in rendered_plates(folder)]
    if not truths:
        raise click.UsageError("nothing to judge: give --real, --wells or --plates")
    if options["rule"] == "pooled":  # this rule has no threshold
        thresholds = thresholds[:1]
    settings = [_settings(threshold, options) for threshold in dict.fromkeys(thresholds)]
    network = Marco(marco) if marco else None
    judged = []
    compared = []
    for source, here in by_source(truths).items():
        click.echo(f"{source}: {len(here)} wells", err=True)
        paths = [truth.path for truth in here]
        runs = {s.name: score(paths, s, out / "scores", options["jobs"]) for s in settings}
        opinions = {path: network.read(path).group for path in paths} if network else None
        judged.append(judge_source(here, runs, opinions))
        if opinions is not None:
            ours = next(iter(runs.values()))
            compared += [(truth, called_outcome(ours[truth.path]), opinions[truth.path]) for truth in here]
    folder = options["weights"] or PACKAGED
    used = default_models(folder, options["variant"])
    listed = [model for model in read_manifest(folder).models if model.sha256 in used]
    made = report.Report(
        schema=1,
        worker=version(),
        options=settings[0].words,
        weights={f"{m.role} {m.architecture} {m.variant}": m.sha256 for m in listed},
        sources=judged,
        marco=compare(compared) if network else None,
    )
    click.echo(str(report.write(made, out, shlex.join(["xtalgrid-train", *sys.argv[1:]]))))


@judge.command(cls=Command)
@click.option("--marco", type=FOLDER, required=True, help="MARCO's network, as `import marco` wrote it.")
@click.option("--real", type=FOLDER, multiple=True, help="Folder of sets of real wells with one labels.csv.")
@click.option("--wells", type=click.IntRange(2), default=40, show_default=True, help="Rendered wells of each class.")
@click.option("--seed", default=990_000_000, show_default=True, help="Of the first well.")
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
    found = criticise(Marco(marco), sources, wells, seed)
    click.echo(markdown(found), nl=False)
    if record:
        write_atomically(record, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


@judge.command(cls=Command)
@click.argument("plates", type=FOLDER)
@click.option("--work", type=FOLDER, required=True, help="Scratch folder, kept for the next run.")
@weights_options
@_jobs
@click.option(
    "--support", type=click.FloatRange(0, 1), default=DEFAULTS.support, show_default=True, help="Of the rule group."
)
def calibrate(
    plates: Path, work: Path, weights: Path | None, variant: Variant | None, jobs: int, support: float
) -> None:
    """Calibrate on rendered PLATES that no model is judged on, and write the result to the weights' manifest.

    Make the plates with sets render-test --validation. This fits the pooling of the rule pooled, and p_crystal of the
    other rules.
    """
    from xtalgrid_core.markdown import table

    from ..judge.calibrate import calibrate as fit
    from ..judge.tables import text
    from ..judge.truth import rendered_plates

    found = fit(rendered_plates(plates), work / "windows", weights, variant, support, jobs)
    c = found.calibration
    click.echo(
        f"{variant or 'default'} weights, {found.wells} wells, {found.crystals} crystals; rules group and published: "
        f"p_crystal with slope {c.slope}, intercept {c.intercept}"
    )
    if found.cutoffs and found.calibration_ece is not None and found.pooling_ece is not None:
        click.echo(
            f"Each plate by a fit to the others: ECE of p_crystal {found.pooling_ece:.3f} (rule pooled), "
            f"{found.calibration_ece:.3f} (rules group and published)\n"
        )
        head = ("crystal_from", "crystals found", "other wells opened", "weighted mean")
        rows = [
            (f"{t.crystal_from:g}", text(t.crystals_found), text(t.others_opened), text(t.weighted_mean))
            for t in found.cutoffs
        ]
        click.echo("\n".join(table(head, rows)))


@judge.command("evaluate-chops", cls=Command)
@click.argument("folder", metavar="SET", type=FOLDER)
@click.argument("states", nargs=-1, required=True, type=FILE)
@click.option("--training", default=5000, show_default=True, help="Chops of the training plates to judge on as well.")
@click.option("--most", type=click.IntRange(1), help="At most so many held-out chops (default: all).")
@click.option("--device", default="cpu", show_default=True, help="Where torch runs: cpu, cuda.")
@click.option("--out", type=FOLDER, help="Also write chops.md and chops.json here.")
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
    help="Rendered plates no model is judged on (sets render-test --validation).",
)
@click.option("--wells", type=FILE, multiple=True, help="A lab's own table: CSV with plate, image, label.")
@weights_options
@_jobs
def windows(
    out: Path,
    plates: tuple[Path, ...],
    wells: tuple[Path, ...],
    weights: Path | None,
    variant: Variant | None,
    jobs: int,
) -> None:
    """Write the classifier's output for every window of every drop to OUT, for `rule` to choose by."""
    from ..judge.truth import lab_wells, rendered_plates
    from ..judge.windows import collect

    truths = [truth for folder in plates for truth in rendered_plates(folder)]
    truths += [truth for table in wells for truth in lab_wells(table)]
    if not truths:
        raise click.UsageError("no wells: give --plates or --wells")
    click.echo(f"{len(collect(truths, out, weights, variant, jobs))} plates in {out}")


@judge.command(cls=Command)
@click.argument("folder", metavar="WINDOWS", type=FOLDER)
@click.option(
    "--threshold",
    "thresholds",
    type=float,
    multiple=True,
    default=[n / 20 for n in range(10, 20)],
    show_default=True,
    help="Thresholds to try. Repeatable, as those below.",
)
@click.option(
    "--support",
    "supports",
    type=float,
    multiple=True,
    default=[0, 0.1, 0.2, 0.3, 0.4, 0.6],
    show_default=True,
    help="Supports to try.",
)
@click.option(
    "--crystal-shift",
    "crystal",
    type=float,
    multiple=True,
    default=[-2, -1, -0.5, 0, 0.5, 1, 2],
    show_default=True,
    help="Shifts of the crystals to try.",
)
@click.option(
    "--precipitate-shift",
    "precipitate",
    type=float,
    multiple=True,
    default=[-1, 0, 1],
    show_default=True,
    help="Of precipitate.",
)
@click.option(
    "--other-shift", "other", type=float, multiple=True, default=[-1, 0, 1], show_default=True, help="Of what is other."
)
@click.option(
    "--others-opened", "limits", type=float, multiple=True, default=[0.05, 0.1], show_default=True, help="At most."
)
@click.option("--undecided", type=float, default=0.15, show_default=True, help="At most, of all wells.")
@click.option("--rows", default=10, show_default=True, help="Rules to show for each limit.")
@click.option("--csv", "table", type=FILE, help="Write all rules here.")
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
    (now,) = (t for t in rules.sweep(wells, [DEFAULTS.threshold], [DEFAULTS.support]) if t.rule == "group")
    trials = list(rules.sweep(wells, thresholds, supports, crystal, precipitate, other))
    click.echo("\n".join([f"{len(wells.ends)} wells, {len(trials)} rules. As it is:", "", *rules.lines([now])]))
    for limit in limits:
        found = rules.best(trials, limit, undecided, rows)
        head = f"Most crystals found with at most {limit:.0%} of the other wells opened and {undecided:.0%} undecided:"
        click.echo("\n".join(["", head, "", *rules.lines(found)]))
    if table:
        rules.write(trials, table)

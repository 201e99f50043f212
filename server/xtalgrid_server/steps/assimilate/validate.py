"""The validator: check all of a result against the manifest of its unit before any of it is used."""

from __future__ import annotations

from xtalgrid_core import wire
from xtalgrid_core.decision import or_undecided
from xtalgrid_core.errors import FailureReason, ResultError
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome

KEPT_BYTES = 1024 * 1024
"""Bytes kept of a refused result, for people to look at; limited, so that nobody can fill the disk."""

MARGIN = 1e-3
"""Tolerance for rounding in the worker's float32 sums."""

_OF_A_BROKEN_COMPUTER = (FailureReason.UNREADABLE_FILE, FailureReason.HASH_DIFFERS, FailureReason.INTERNAL)
"""Reasons that the server ruled out before it packed the images. If all fail so, the computer's disk or memory does."""


def validate(data: bytes, manifest: wire.Manifest) -> wire.Result:
    """Check a result against the manifest of its unit.

    Raises
    ------
    ResultError
        With the first error found. Nothing of the result may be used then.
    """
    result = wire.decode_result(data)
    options = manifest.options
    if result.unit != manifest.unit:
        raise ResultError(f"belongs to unit {result.unit!r}, not {manifest.unit!r}")
    if (result.segmenter, result.classifier) != (options.segmenter, options.classifier):
        raise ResultError("was made with other models than the manifest names")
    if wire.release(result.worker) < wire.release(manifest.min_worker):
        raise ResultError(f"is from worker {result.worker[:20]!r}; the unit needs {manifest.min_worker} or newer")
    if [answer.number for answer in result.images] != [entry.number for entry in manifest.images]:
        raise ResultError("does not have exactly the images of the manifest, in their order")
    for entry, answer in zip(manifest.images, result.images, strict=True):
        if isinstance(answer, wire.Scored):
            try:
                _check_scored(answer, entry, options)
            except ResultError as error:
                raise ResultError(f"image {entry.number}: {error}") from error
    _check_failures(result)
    return result


def _check_failures(result: wire.Result) -> None:
    """Refuse a result of several images none of which its computer could read: another one may score them."""
    failed = [answer for answer in result.images if isinstance(answer, wire.Failed)]
    if len(failed) == len(result.images) > 1 and all(answer.reason in _OF_A_BROKEN_COMPUTER for answer in failed):
        raise ResultError(
            f"none of its {len(failed)} images could be scored; the first: {failed[0].reason}: {failed[0].detail}"
        )


def _check_scored(answer: wire.Scored, entry: wire.ImageEntry, options: wire.Options) -> None:
    if answer.outcome in (Outcome.FAILED, Outcome.RIM):
        raise ResultError(f"{answer.outcome} is not an outcome of a well")
    if answer.score != answer.outcome.style.score:
        raise ResultError(f"score {answer.score} does not belong to {answer.outcome}")
    if (entry.height, entry.width) != (None, None) and (entry.height, entry.width) != (answer.height, answer.width):
        raise ResultError(f"claims {answer.width}×{answer.height} pixels instead of {entry.width}×{entry.height}")
    um = entry.pixel_size_um
    if not (um * 0.999 <= answer.pixel_size_um <= um * 1.001 if um else 0.05 <= answer.pixel_size_um <= 50):
        raise ResultError(f"{answer.pixel_size_um:g} µm per pixel; the unit says {um or 'between 0.05 and 50'}")
    _check_places(answer, options.n_boxes)
    _check_groups(answer)
    _check_second_opinion(answer, options)
    if not answer.probabilities:
        outcomes = {Outcome.NULL_EXPERIMENT}
        if answer.groups is not None:
            outcomes.add(or_undecided(Outcome.NULL_EXPERIMENT, answer.groups, options))
        if answer.outcome not in outcomes or answer.drop.box is not None:
            raise ResultError("has no probabilities, but is not a null experiment without a drop")
        return
    if len(answer.probabilities) != len(CLASSES):
        raise ResultError(f"{len(answer.probabilities)} class probabilities; there are {len(CLASSES)}")
    _check_decision(answer, options)


def _check_places(answer: wire.Scored, n_boxes: int) -> None:
    """Refuse boxes and outlines that do not lie inside the image, and more boxes than the unit asks for."""
    boxes = [chop.box for chop in answer.boxes] + ([answer.drop.box] if answer.drop.box else [])
    for row, col, height, width in boxes:
        if row + height > answer.height or col + width > answer.width or not height or not width:
            raise ResultError("a box does not lie inside the image")
    if any(row > answer.height or col > answer.width for row, col in answer.drop.outline):
        raise ResultError("the drop's outline does not lie inside the image")
    if len(answer.boxes) > n_boxes:
        raise ResultError(f"{len(answer.boxes)} boxes; the unit asks for at most {n_boxes}")


def _check_groups(answer: wire.Scored) -> None:
    """Refuse inconsistent probabilities of the four groups; older workers don't send any."""
    if answer.groups is None:
        return
    if abs(sum(answer.groups) - 1) > MARGIN:
        raise ResultError(f"the groups' probabilities sum to {sum(answer.groups):.4f}, not to 1")
    if abs(answer.groups[0] - answer.p_crystal) > MARGIN:
        raise ResultError(f"crystals have probability {answer.groups[0]:.3f}, and p_crystal is {answer.p_crystal:.3f}")


def _check_second_opinion(answer: wire.Scored, options: wire.Options) -> None:
    """Refuse an answer without the second opinion that the unit names, with another, or with both combined otherwise.

    This also refuses workers that do not know second opinions.
    """
    second = answer.second_opinion
    if (second.model if second else None) != options.second_opinion:
        raise ResultError("does not have the second opinion that the unit names, or has one that it does not name")
    if second is None or options.combination is None:
        return
    if answer.groups is None or answer.own_groups is None:
        raise ResultError("a second opinion, without the groups' probabilities before and after it")
    for whose, groups in (("the second opinion's", second.groups), ("the first opinion's", answer.own_groups)):
        if abs(sum(groups) - 1) > MARGIN:
            raise ResultError(f"{whose} probabilities sum to {sum(groups):.4f}, not to 1")
    has_chops = bool(answer.probabilities)
    expected = options.combination(answer.own_groups, second.groups).tolist() if has_chops else answer.own_groups
    if max(abs(one - other) for one, other in zip(answer.groups, expected, strict=True)) > MARGIN:
        raise ResultError("the two opinions are not combined as the unit says")


def _check_decision(answer: wire.Scored, options: wire.Options) -> None:
    """Refuse an outcome that the decision rule cannot have reached from these maxima."""
    if options.is_pooled:
        if answer.outcome is Outcome.UNDECIDED:
            _check_undecided(answer, options)
        else:
            _check_pooled(answer, options.crystal_from)
        return
    maxima = dict(zip(CLASSES, answer.probabilities, strict=True))
    if answer.outcome is Outcome.UNDECIDED:
        # too few chops don't count, however sure they are
        needs_support = options.rule == "group" and options.support > 0
        decisive = [p for o, p in maxima.items() if not needs_support or o.group is Group.CLEAR]
        if max(answer.probability, *decisive) > options.threshold + MARGIN:
            raise ResultError("is undecided, with a probability above the threshold")
        return
    classes = _published_as(answer.outcome)
    if options.rule == "group":
        group: Group = answer.outcome.group
        classes = [outcome for outcome in CLASSES if outcome.group is group]
    if answer.probability < options.threshold - MARGIN:
        raise ResultError(f"{answer.outcome} with probability {answer.probability:.3f}, below the threshold")
    if answer.probability > sum(maxima[outcome] for outcome in classes) + MARGIN:
        raise ResultError(f"{answer.outcome} with probability {answer.probability:.3f}, more than its classes reach")


def _published_as(outcome: Outcome) -> list[Outcome]:
    """Return the classes that are published as this outcome."""
    return [Outcome.CLEAR, Outcome.RIM] if outcome is Outcome.CLEAR else [outcome]


def _check_undecided(answer: wire.Scored, options: wire.Options) -> None:
    """Refuse an undecided well that the rule ``pooled`` would have called something, by the unit's limits."""
    if answer.groups is None or options.undecided is None:
        raise ResultError("is undecided, which the unit does not ask for")
    has_crystals = answer.p_crystal - options.crystal_from
    for p, limit, group in zip(answer.groups, options.undecided, SCORED_GROUPS, strict=True):
        if group is Group.CRYSTAL:
            is_called = has_crystals >= -MARGIN
        else:
            is_called = has_crystals < MARGIN and p >= max(answer.groups[1:]) - MARGIN
        if is_called and p < limit + MARGIN and abs(p - answer.probability) <= MARGIN:
            return
    raise ResultError(f"is undecided with probability {answer.probability:.3f}, which is not what its groups say")


def _check_pooled(answer: wire.Scored, crystal_from: float) -> None:
    """Refuse an outcome that the rule ``pooled`` cannot have reached.

    The probabilities of the four groups sum to 1; even older workers send two of them, `p_crystal` and the winner's.
    """
    group: Group = answer.outcome.group
    inside = {o: p for o, p in zip(CLASSES, answer.probabilities, strict=True) if o.group is group}
    is_crystal = group is Group.CRYSTAL
    if (answer.p_crystal < crystal_from - MARGIN) if is_crystal else (answer.p_crystal > crystal_from + MARGIN):
        raise ResultError(f"{answer.outcome} with p_crystal {answer.p_crystal:.3f}; crystals begin at {crystal_from:g}")
    rest = 1 - answer.p_crystal
    least, most = (answer.p_crystal, answer.p_crystal) if is_crystal else (rest / 3, rest)
    if not least - MARGIN <= answer.probability <= most + MARGIN:
        raise ResultError(
            f"{answer.outcome} with probability {answer.probability:.3f} does not fit p_crystal {answer.p_crystal:.3f}"
        )
    if answer.groups is not None:
        winner = answer.groups[SCORED_GROUPS.index(group)]
        if abs(winner - answer.probability) > MARGIN or (not is_crystal and winner < max(answer.groups[1:]) - MARGIN):
            raise ResultError(f"{answer.outcome} with probability {answer.probability:.3f} is not what its groups say")
    # the class has the largest mean over the chops that show the group, so its maximum cannot be far below another's
    reached = max(inside[o] for o in _published_as(answer.outcome))
    if reached < max(inside.values()) / (2 * len(inside)) - MARGIN:
        raise ResultError(f"{answer.outcome}, and another class of its group is far more probable")

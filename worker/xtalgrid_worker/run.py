"""Score a unit, image by image, so that a broken image or a crash of the worker affects no other image."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImageError, ManifestError, ResultError
from xtalgrid_core.files import Wait, give_up, keep_trying, write_atomically
from xtalgrid_scoring.failures import failed
from xtalgrid_scoring.networks import RUNTIME, Networks
from xtalgrid_scoring.score import score_image

from .checkpoint import Checkpoint, Header
from .limits import TIME_LIMIT, TimeLimit
from .stopping import Stopped
from .workunit import Source, WorkUnit

log = logging.getLogger(__name__)

Report = Callable[[wire.ImageEntry, wire.Answer, bool], None]
"""Called with each image, its answer, and whether this run scored it."""

Progress = Callable[[float, bool], None]
"""Called with the finished fraction of a unit, 0..1, and whether this run did the last part of it."""


def version() -> str:
    """Return the worker's version."""
    return metadata.version("xtalgrid")


def run_unit(
    unit: Path,
    result: Path,
    checkpoint: Path,
    pause: Callable[[], None],
    progress: Progress = lambda fraction, is_new: None,
    wait: Wait = give_up,
    *,
    folders: Iterable[Path] = (),
    threads: int = 1,
    time_limit: float = TIME_LIMIT,
) -> None:
    """Score a work unit's zip, as `score_unit` does, unless its result already exists.

    Parameters
    ----------
    unit
        The zip.
    result, checkpoint, pause, wait, time_limit
        See `score_unit`.
    progress
        Called for each image before its answer is recorded.
    folders
        Folders of weights, searched before the package's.
    threads
        Cores to use.

    Raises
    ------
    WireError, ModelError
        If this worker cannot score the unit.
    Busy, Stopped, OSError
        See `score_unit`.
    """
    with WorkUnit(unit) as source:
        manifest = source.manifest
        if is_done(manifest, result) and not checkpoint.exists():
            log.info("%s: %s already exists", manifest.unit, result)
            return
        check_version(manifest)
        networks = Networks.load(manifest.options, folders, threads)
        done = 0

        def report(entry: wire.ImageEntry, answer: wire.Answer, is_new: bool) -> None:
            nonlocal done
            done += 1
            if isinstance(answer, wire.Failed):
                log.warning("%s: %s: %s: %s", manifest.unit, entry.file, answer.reason, answer.detail)
            progress(done / len(manifest.images), is_new)

        answers = score_unit(source, result, checkpoint, networks, pause, report, wait, time_limit).images
        failed = sum(isinstance(answer, wire.Failed) for answer in answers)
        log.info("%s: %d images scored, %d failed", manifest.unit, len(answers) - failed, failed)


def score_unit(
    source: Source,
    result: Path,
    checkpoint: Path,
    networks: Networks,
    pause: Callable[[], None],
    report: Report = lambda entry, answer, is_new: None,
    wait: Wait = give_up,
    time_limit: float = TIME_LIMIT,
) -> wire.Result:
    """Score all images of a unit, write the result, and delete the checkpoint.

    Parameters
    ----------
    source
        The unit.
    result, checkpoint
        The files to write.
    networks
        The networks named in the unit's options.
    pause
        Called at safe points; may block, and may raise `Stopped`.
    report
        Called for each image before its answer is recorded, also for images that were scored by an earlier run.
    wait
        Called with the error if a file cannot be written; returns to try again, or raises.
    time_limit
        CPU seconds after which an image fails as `TIMED_OUT`.

    Raises
    ------
    Busy
        If another worker is working on this unit.
    Stopped
        If raised by `pause`; the checkpoint is kept.
    OSError
        If raised by `wait`, or if the unit's disk or share does not respond; the checkpoint is kept.
    """
    with Checkpoint(checkpoint, Header.of(source, version()), wait) as done:
        if done.answers:
            log.info(
                "%s: %d of %d images already done", source.manifest.unit, len(done.answers), len(source.manifest.images)
            )
        answers = []
        for entry, answer in _answers(source, done, networks, pause, time_limit):
            is_new = entry.number not in done.answers
            report(entry, answer, is_new)
            if is_new:
                done.record(answer)
            answers.append(answer)
        options = source.manifest.options
        message = wire.Result(
            schema=wire.SCHEMA,
            unit=source.manifest.unit,
            worker=version(),
            segmenter=options.segmenter,
            classifier=options.classifier,
            host=host(),
            images=tuple(answers),
        )
        keep_trying(lambda: write_atomically(result, wire.encode(message)), wait)
        done.remove()
    return message


def is_done(manifest: wire.Manifest, result: Path) -> bool:
    """Tell whether a file is a valid result of this unit."""
    try:
        old = wire.decode_result(result.read_bytes())
    except (OSError, ResultError):
        return False
    options = manifest.options
    return (old.unit, old.segmenter, old.classifier, [answer.number for answer in old.images]) == (
        manifest.unit,
        options.segmenter,
        options.classifier,
        [entry.number for entry in manifest.images],
    )


def check_version(manifest: wire.Manifest) -> None:
    """Check that this worker is new enough for a unit.

    Raises
    ------
    ManifestError
        If it is not, or if `min_worker` is not a version.
    """
    if wire.release(manifest.min_worker) == (-1,):
        raise ManifestError(
            f"{manifest.unit}: min_worker is {manifest.min_worker[:40]!r}, not a version; make the work unit again"
        )
    if wire.release(manifest.min_worker) > wire.release(version()):
        raise ManifestError(
            f"{manifest.unit} needs worker {manifest.min_worker[:40]} or newer; this is {version()}: update it"
        )


def host() -> wire.Host:
    """Describe the computer, without the names of host and user."""
    return wire.Host(
        platform=wire.short_text(_platform()),
        python=platform.python_version(),
        runtime=RUNTIME,
        processor=wire.short_text(_processor()),
    )


def _answers(
    source: Source, done: Checkpoint, networks: Networks, pause: Callable[[], None], time_limit: float
) -> Iterator[tuple[wire.ImageEntry, wire.Answer]]:
    for entry in source.manifest.images:
        if entry.number in done.answers:
            yield entry, done.answers[entry.number]
            continue
        pause()
        if done.has_crashed(entry.number):
            crashed = ImageError(FailureReason.CRASHED_WORKER, "the worker crashed every time it scored this image")
            yield entry, failed(entry.number, crashed)
            continue
        done.begin(entry.number)
        try:
            answer = _answer(source, entry, networks, TimeLimit(pause, time_limit))
        except (Stopped, OSError):
            done.end(entry.number)
            raise
        done.end(entry.number)
        yield entry, answer


def _answer(source: Source, entry: wire.ImageEntry, networks: Networks, pause: Callable[[], None]) -> wire.Answer:
    try:
        data = source.read(entry)
    except OSError:
        raise  # no fault of the image: a later run may read it
    except Exception as error:
        return failed(entry.number, error)
    try:
        return score_image(data, entry, source.manifest.options, networks, pause)
    except Exception as error:
        return failed(entry.number, error)


def _platform() -> str:
    """Return the same as `platform.platform`, which would start a process."""
    parts = [platform.system(), platform.release(), platform.machine(), "".join(platform.libc_ver())]
    return "-".join(filter(None, parts))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:  # not Linux; Windows sets this variable
        return os.environ.get("PROCESSOR_IDENTIFIER", platform.machine())
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())

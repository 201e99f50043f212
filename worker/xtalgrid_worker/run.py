"""Scores a unit, image after image, so that nothing that happens to one of them or to the worker costs the others."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImageError, ManifestError, ResultError
from xtalgrid_core.files import write_atomically
from xtalgrid_scoring.failures import failed
from xtalgrid_scoring.networks import RUNTIME, Networks
from xtalgrid_scoring.score import score_image

from .checkpoint import Checkpoint, Header
from .guest import TIME_LIMIT, TimeLimit
from .stopping import Stopped
from .workunit import Source, WorkUnit

log = logging.getLogger(__name__)

Report = Callable[[wire.ImageEntry, wire.Answer, bool], None]
"""Told of each image, its answer, and whether this run scored it."""

Progress = Callable[[float, bool], None]
"""Told how much of a unit is done, 0..1, and whether this run did the last part of it."""


def version() -> str:
    """The worker's version."""
    return metadata.version("xtalgrid")


def run_unit(
    unit: Path,
    result: Path,
    checkpoint: Path,
    pause: Callable[[], None],
    progress: Progress = lambda fraction, is_new: None,
    *,
    folders: Iterable[Path] = (),
    threads: int = 1,
    time_limit: float = TIME_LIMIT,
) -> None:
    """Score a work unit's zip, as `score_unit` does, unless its result is there already.

    Parameters
    ----------
    unit
        The zip.
    result, checkpoint, pause, time_limit
        As of `score_unit`.
    progress
        Called for each image before its answer is taken for done.
    folders
        Folders of weights, before those packaged.
    threads
        Cores to use.

    Raises
    ------
    WireError, ModelError
        When this worker cannot do the unit.
    Busy, Stopped, OSError
        As `score_unit`.
    """
    with WorkUnit(unit) as source:
        manifest = source.manifest
        if is_done(manifest, result) and not checkpoint.exists():
            log.info("%s: %s is there already", manifest.unit, result)
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

        answers = score_unit(source, result, checkpoint, networks, pause, report, time_limit).images
        failed = sum(isinstance(answer, wire.Failed) for answer in answers)
        log.info("%s: %d images scored, %d failed", manifest.unit, len(answers) - failed, failed)


def score_unit(
    source: Source,
    result: Path,
    checkpoint: Path,
    networks: Networks,
    pause: Callable[[], None],
    report: Report = lambda entry, answer, is_new: None,
    time_limit: float = TIME_LIMIT,
) -> wire.Result:
    """Score all images of a unit, write the result, remove the checkpoint.

    Parameters
    ----------
    source
        The unit.
    result, checkpoint
        The files to write.
    networks
        Those the unit's options name.
    pause
        Called at safe points; may wait, and may raise `Stopped`.
    report
        Called for each image before its answer is taken for done, also for those that an earlier run had done.
    time_limit
        CPU seconds after which an image fails as `TIMED_OUT`.

    Raises
    ------
    Busy
        When another worker is at this unit.
    Stopped
        When `pause` does; the checkpoint stays.
    OSError
        When a file cannot be written; the checkpoint stays.
    """
    with Checkpoint(checkpoint, Header.of(source, version())) as done:
        if done.answers:
            log.info(
                "%s: %d of %d images are done", source.manifest.unit, len(done.answers), len(source.manifest.images)
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
        write_atomically(result, wire.encode(message))
        done.remove()
    return message


def is_done(manifest: wire.Manifest, result: Path) -> bool:
    """Whether a file is the result of this unit already; one that cannot be read is none."""
    try:
        found = wire.decode_result(result.read_bytes())
    except (OSError, ResultError):
        return False
    options = manifest.options
    return (found.unit, found.segmenter, found.classifier, [answer.number for answer in found.images]) == (
        manifest.unit,
        options.segmenter,
        options.classifier,
        [entry.number for entry in manifest.images],
    )


def check_version(manifest: wire.Manifest) -> None:
    """Refuse a unit that asks for a newer worker.

    Raises
    ------
    ManifestError
        When it does, or its version cannot be read.
    """
    if wire.release(manifest.min_worker) == (-1,):
        raise ManifestError(f"{manifest.unit}: min_worker is {manifest.min_worker[:40]!r}; make the work unit again")
    if wire.release(manifest.min_worker) > wire.release(version()):
        raise ManifestError(
            f"{manifest.unit} asks for worker {manifest.min_worker[:40]} or newer; this is {version()}: update it"
        )


def host() -> wire.Host:
    """What the worker runs on. No names: not the host's, not the user's."""
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
            crashed = ImageError(FailureReason.CRASHED_WORKER, "the worker ended every time it was scored")
            yield entry, failed(entry.number, crashed)
            continue
        done.begin(entry.number)
        try:
            answer = _answer(source, entry, networks, TimeLimit(pause, time_limit))
        except Stopped:
            done.stopped(entry.number)
            raise
        yield entry, answer


def _answer(source: Source, entry: wire.ImageEntry, networks: Networks, pause: Callable[[], None]) -> wire.Answer:
    try:
        return score_image(source.read(entry), entry, source.manifest.options, networks, pause)
    except Exception as error:
        return failed(entry.number, error)


def _platform() -> str:
    """As `platform.platform` has it, which starts a process to find out."""
    words = [platform.system(), platform.release(), platform.machine(), "".join(platform.libc_ver())]
    return "-".join(filter(None, words))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:  # no Linux; Windows says it here
        return os.environ.get("PROCESSOR_IDENTIFIER", platform.machine())
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())

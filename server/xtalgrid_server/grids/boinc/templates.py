"""BOINC's templates for a work unit and its result, with every limit set explicitly.

A template overrides the options of ``create_work``, so all limits are set here. Older servers need ``<number>`` and
``<file_number>``; newer ones ignore them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from xtalgrid_core import wire

from ...config import Boinc, Work

FLOPS_MARGIN = 100
"""A worker is stopped after this many times its estimate: hosts differ, and their benchmarks are unreliable."""

EXACT_COST = 10
"""Scoring chop by chop takes about this many times as long as dense scoring (docs/decisions/0009-dense-scoring.md)."""

SECOND_OPINION_COST = 1.4
"""With a second opinion, scoring takes about this many times as long (docs/performance.md)."""

PRIORITY = {True: 100, False: 0}
"""Priority of fresh units (True) and of back-fill (False)."""

RESULT_BYTES_PER_WELL = 24 * 1024
"""Bytes allowed per answer: most take 3 kB, one with the longest outline and a hundred boxes 21 kB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a work unit may cost, in seconds, bytes and floating-point operations."""

    fpops_est: float
    fpops_bound: float
    memory: int
    disk: int
    delay: int
    quorum: int
    errors: int
    results: int


def limits(boinc: Boinc, manifest: wire.Manifest, *, fresh: bool, quorum: int) -> Limits:
    """Return a unit's limits, from its number of images and the configuration."""
    cost = float(EXACT_COST if manifest.options.mode == "exact" else 1)
    cost *= SECOND_OPINION_COST if manifest.options.second_opinion else 1
    estimate = len(manifest.images) * boinc.gflop_per_well * cost * 1e9
    days = boinc.deadline_days if fresh else boinc.backfill_deadline_days
    return Limits(
        fpops_est=estimate,
        fpops_bound=max(estimate, 1e11) * FLOPS_MARGIN,
        memory=boinc.memory_mb * 10**6,
        disk=boinc.disk_mb * 10**6,
        delay=round(days * 86400),
        quorum=quorum,
        errors=boinc.max_errors,
        results=boinc.max_results,
    )


def input_template(limit: Limits, weights: Sequence[str] = ()) -> str:
    """Return the template of a work unit: its zip, and the logical names of the weights sent with it.

    Weights stay on the volunteer's disk (``sticky``) and on the server (``no_delete``): many units share them.
    """
    files = "".join(_file_info(number, sticky=number > 0) for number in range(len(weights) + 1))
    refs = "".join(_file_ref(number, name) for number, name in enumerate((wire.UNIT_FILE, *weights)))
    return f"""<input_template>
{files}<workunit>
{refs}    <rsc_fpops_est>{limit.fpops_est:.6g}</rsc_fpops_est>
    <rsc_fpops_bound>{limit.fpops_bound:.6g}</rsc_fpops_bound>
    <rsc_memory_bound>{limit.memory}</rsc_memory_bound>
    <rsc_disk_bound>{limit.disk}</rsc_disk_bound>
    <delay_bound>{limit.delay}</delay_bound>
    <min_quorum>{limit.quorum}</min_quorum>
    <target_nresults>{limit.quorum}</target_nresults>
    <max_error_results>{limit.errors}</max_error_results>
    <max_total_results>{limit.results}</max_total_results>
    <max_success_results>{limit.results}</max_success_results>
</workunit>
</input_template>
"""


def output_template(work: Work, folder: Path, name: str) -> str:
    """Return the template of a result: one file, large enough for the largest unit's.

    BOINC reads it again for each instance it makes, so it stays in the project, under this name in this folder, and its
    limit never falls: larger units, made under another configuration, may be under way.
    """
    wells = max(work.wells_per_unit, work.wells_per_backfill_unit)
    size = min(wells * RESULT_BYTES_PER_WELL + 64 * 1024, wire.MAX_RESULT_BYTES)
    with suppress(OSError):
        before = re.search(rb"<max_nbytes>([0-9]{1,9})</max_nbytes>", (folder / name).read_bytes())
        size = max(size, min(int(before[1]), wire.MAX_RESULT_BYTES) if before else 0)
    return f"""<output_template>
<file_info>
    <name><OUTFILE_0/></name>
    <generated_locally/>
    <upload_when_present/>
    <max_nbytes>{size}</max_nbytes>
    <url><UPLOAD_URL/></url>
</file_info>
<result>
    <file_ref>
        <file_name><OUTFILE_0/></file_name>
        <open_name>{wire.RESULT_FILE}</open_name>
    </file_ref>
</result>
</output_template>
"""


def _file_info(number: int, *, sticky: bool) -> str:
    retention = "    <sticky/>\n    <no_delete/>\n" if sticky else ""
    return f"<file_info>\n    <number>{number}</number>\n{retention}</file_info>\n"


def _file_ref(number: int, name: str) -> str:
    return f"""    <file_ref>
        <file_number>{number}</file_number>
        <open_name>{escape(name)}</open_name>
    </file_ref>
"""

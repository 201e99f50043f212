"""BOINC's templates of a work unit and of its result, with every limit set on purpose.

What a template says goes before the options of ``create_work``, so all of it stands here. ``<number>`` and ``<file_number>``,
which newer servers ignore, are for those that need them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from xtalgrid_core import wire

from ...config import Boinc, Work

FLOPS_MARGIN = 100
"""A worker is stopped when it takes so many times its estimate: hosts differ, and their benchmarks lie."""

EXACT_COST = 10
"""Chop by chop, a well takes about so many times what it takes densely (docs/decisions/0009-dense-scoring.md)."""

PRIORITY = {True: 100, False: 0}
"""Of fresh units and of back-fill."""

RESULT_BYTES_PER_WELL = 24 * 1024
"""An answer takes 3 kB; one with the longest outline and a hundred boxes 21 kB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a work unit may cost. Seconds, bytes, floating point operations."""

    fpops_est: float
    fpops_bound: float
    memory: int
    disk: int
    delay: int
    quorum: int
    errors: int
    results: int


def limits(boinc: Boinc, manifest: wire.Manifest, *, fresh: bool, quorum: int) -> Limits:
    """The limits of a unit, from the number of its images and the configuration."""
    cost = EXACT_COST if manifest.options.mode == "exact" else 1
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
    """The template of a work unit: its zip, and the logical names of weights that travel beside it.

    Weights stay on the volunteer's disk (``sticky``) and on the server (``no_delete``): they are the same for many units.
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


def output_template(work: Work) -> str:
    """The template of a result: one file, as large as the largest unit's may be.

    BOINC reads it again for each instance it makes, so it stays in the project.
    """
    wells = max(work.wells_per_unit, work.wells_per_backfill_unit)
    size = min(wells * RESULT_BYTES_PER_WELL + 64 * 1024, wire.MAX_RESULT_BYTES)
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
    kept = "    <sticky/>\n    <no_delete/>\n" if sticky else ""
    return f"<file_info>\n    <number>{number}</number>\n{kept}</file_info>\n"


def _file_ref(number: int, name: str) -> str:
    return f"""    <file_ref>
        <file_number>{number}</file_number>
        <open_name>{escape(name)}</open_name>
    </file_ref>
"""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from xtalgrid_core import wire
from xtalgrid_server.config import Boinc, Work
from xtalgrid_server.grids.boinc.names import (
    download_path,
    result_of_output,
    unit_of_output,
    unit_of_workunit,
    workunit_name,
)
from xtalgrid_server.grids.boinc.templates import input_template, limits, output_template


def manifest(images: int, **options: object) -> wire.Manifest:
    return wire.Manifest(
        schema=1,
        unit="xg_1",
        min_worker="0.1.0",
        options=wire.Options(segmenter="a" * 64, classifier="b" * 64, **options),
        images=tuple(
            wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=n, sha256="c" * 64) for n in range(images)
        ),
    )


def number(template: ET.Element, name: str) -> float:
    return float(template.findtext(f"workunit/{name}"))


@pytest.mark.parametrize("quorum", [1, 2, 3])
def test_every_limit_is_set_and_boinc_would_take_them(quorum):
    limit = limits(Boinc(), manifest(100, mode="dense", step=48), fresh=True, quorum=quorum)
    template = ET.fromstring(input_template(limit))
    assert number(template, "target_nresults") == number(template, "min_quorum") == quorum
    total = number(template, "max_total_results")
    assert number(template, "target_nresults") <= number(template, "max_success_results") <= total
    assert number(template, "max_error_results") <= total
    assert number(template, "rsc_fpops_bound") >= 100 * number(template, "rsc_fpops_est")
    assert number(template, "rsc_memory_bound") >= 400e6
    assert number(template, "delay_bound") == 86400
    assert template.find("workunit/command_line") is None


def test_the_estimate_goes_by_the_images_and_by_the_mode_and_back_fill_has_more_time():
    dense = limits(Boinc(), manifest(100, mode="dense", step=48), fresh=True, quorum=1)
    larger = limits(Boinc(), manifest(1000, mode="dense", step=48), fresh=False, quorum=1)
    exact = limits(Boinc(), manifest(100, mode="exact", step=50), fresh=True, quorum=1)
    assert larger.fpops_est == 10 * dense.fpops_est
    assert exact.fpops_est == 10 * dense.fpops_est
    assert larger.delay == 7 * dense.delay


def test_weights_are_further_files_that_stay_where_they_are():
    limit = limits(Boinc(), manifest(1), fresh=True, quorum=1)
    template = ET.fromstring(input_template(limit, ["weights.json", f"{'a' * 64}.onnx"]))
    infos, refs = template.findall("file_info"), template.findall("workunit/file_ref")
    assert [ref.findtext("open_name") for ref in refs] == ["unit.zip", "weights.json", f"{'a' * 64}.onnx"]
    for n, (info, ref) in enumerate(zip(infos, refs, strict=True)):
        assert int(info.findtext("number")) == int(ref.findtext("file_number")) == n
        assert [info.find(tag) is not None for tag in ("sticky", "no_delete")] == [n > 0, n > 0]


def test_the_result_has_one_file_with_room_for_the_largest_unit(tmp_path):
    def made(name="out", **work):
        text = output_template(Work(**work), tmp_path, name)
        (tmp_path / name).write_text(text)
        return ET.fromstring(text)

    template = made(wells_per_unit=100, wells_per_backfill_unit=1000)
    assert template.findtext("result/file_ref/open_name") == "result.json"
    assert template.find("file_info/name/OUTFILE_0") is not None
    assert template.find("file_info/url/UPLOAD_URL") is not None
    room = int(template.findtext("file_info/max_nbytes"))
    assert 1000 * 20_000 < room <= wire.MAX_RESULT_BYTES
    smaller = made(wells_per_unit=10, wells_per_backfill_unit=10)
    assert int(smaller.findtext("file_info/max_nbytes")) == room, "units of 1,000 may be under way"
    assert int(made("other", wells_per_unit=10, wells_per_backfill_unit=10).findtext("file_info/max_nbytes")) < room
    huge = made(wells_per_backfill_unit=5000)
    assert int(huge.findtext("file_info/max_nbytes")) == wire.MAX_RESULT_BYTES


def test_names_survive_the_shell_and_come_back_from_an_uploaded_file():
    assert workunit_name("xg_0a1b", 2) == "xg_0a1b.2"
    assert unit_of_workunit("xg_0a1b.2") == "xg_0a1b"
    uploaded = Path("/project/upload/3f/xg_0a1b.2_1_r1804289383_0")
    assert unit_of_output(uploaded) == "xg_0a1b"
    assert result_of_output(uploaded) == "xg_0a1b.2_1"
    for wrong in ("xg_1.2", "other_1_r5_0", "xg_1.2_1_r5_0.gz", "xg 1.2_1_r5_0", "../xg_1.2_1_r5_0/.."):
        assert unit_of_output(Path(wrong)) is None
    for wrong in ("a b", "a;b", "", "x" * 101, "../a", "nodelete_1"):
        with pytest.raises(ValueError, match="is not a valid name"):
            workunit_name(wrong, 1)


def test_files_lie_where_boinc_looks_for_them():
    """As a real stage_file put them."""
    assert download_path(Path("d"), 1024, "in.zip").parent.parent == Path("d")
    assert 0 <= int(download_path(Path("d"), 16, "in.zip").parent.name, 16) < 16

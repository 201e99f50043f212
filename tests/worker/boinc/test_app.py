"""A job in a slot folder from start to exit code; a real client runs it in tests/system/test_boinc_client.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from xtalgrid_core import wire
from xtalgrid_core.weights import read_manifest
from xtalgrid_worker.boinc import app

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="on Windows the memory is no file")


@pytest.fixture
def job(slot, link, client_side, make_unit, tiny_weights):
    """``job([bytes, …])`` puts a work unit and its weights into the slot."""

    def put(images: list[bytes], **options: object) -> None:
        link("unit.zip", "unit.zip").write_bytes(make_unit(images, **options).read_bytes())
        manifest = read_manifest(tiny_weights)
        for model in manifest.models:
            link(model.file, f"{model.sha256}.onnx").write_bytes((tiny_weights / model.file).read_bytes())
        link("weights.json", "weights_1.json").write_bytes(msgspec.json.encode(manifest))
        link("result.json", "unit_1_0_r1_0")

    return put


def run(slot, init) -> int:
    return app.run(slot, init, threads=1, time_limit=60)


def uploaded(slot) -> Path:
    return slot.parents[1] / "projects" / "lab" / "unit_1_0_r1_0"


def test_a_job_is_done(slot, init, job, client_side, crystal, clear):
    job([crystal, clear, b"broken"])
    link_before = (slot / "result.json").read_bytes()
    assert run(slot, init) == 0
    assert (slot / "boinc_finish_called").read_text() == "0\n"
    assert (slot / "result.json").read_bytes() == link_before
    result = wire.decode_result(uploaded(slot).read_bytes())
    assert [type(image) for image in result.images] == [wire.Scored, wire.Scored, wire.Failed]
    assert not (slot / "result.json.checkpoint").exists()


def test_after_quit_it_resumes_later(slot, init, job, client_side, crystal, caplog):
    caplog.set_level("INFO")
    job([crystal] * 3)
    client_side.say(client_side.CONTROL, "<quit/>")
    assert run(slot, init) == 0
    assert not (slot / "boinc_finish_called").exists()
    assert not uploaded(slot).exists()
    assert run(slot, init) == 0
    assert (slot / "boinc_finish_called").exists()


def test_aborted(slot, init, job, client_side, crystal):
    job([crystal])
    client_side.say(client_side.CONTROL, "<abort/>")
    assert run(slot, init) == 194


@pytest.mark.parametrize("broken", ["unit", "no unit", "weights", "min_worker"])
def test_permanent_errors_end_the_job_at_once(slot, init, job, crystal, broken, caplog):
    job([crystal], **({"min_worker": "99.0"} if broken == "min_worker" else {}))
    if broken == "unit":
        (slot.parents[1] / "projects/lab/unit.zip").write_bytes(b"PK no zip")
    elif broken == "no unit":
        (slot.parents[1] / "projects/lab/unit.zip").unlink()
    elif broken == "weights":
        (slot / "weights.json").unlink()
    assert run(slot, init) == 206
    assert (slot / "boinc_finish_called").read_text() == "206\n"
    message = caplog.records[-1].getMessage()
    assert {
        "unit": "fetch it again",
        "no unit": "No such file",
        "weights": "unknown model",
        "min_worker": "update it",
    }[broken] in message
    assert "\n" not in message


def test_a_file_that_cannot_be_written_is_a_temporary_exit(slot, init, job, link, crystal):
    job([crystal])
    link("result.json", "unit.zip/unit_1_0_r1_0")  # not a folder: nothing can be written there
    assert run(slot, init) == 0
    seconds, reason = (slot / "boinc_temporary_exit").read_text().splitlines()
    assert (seconds, bool(reason)) == ("600", True)
    assert not (slot / "boinc_finish_called").exists()


def test_a_client_of_another_protocol(slot, init, job, crystal, caplog):
    job([crystal])
    (slot / "boinc_mmap_file").unlink()
    assert run(slot, init) == 206
    assert "api_version" in caplog.text


def test_the_program_needs_no_arguments_and_exits_with_boincs_codes(slot, job, crystal):
    job([crystal])
    worker = [sys.executable, "-m", "xtalgrid_worker"]
    done = subprocess.run(worker, cwd=slot, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert uploaded(slot).exists()
    assert "secret" not in done.stderr
    (slot.parents[1] / "projects/lab/unit.zip").write_bytes(b"PK no zip")
    uploaded(slot).unlink()
    done = subprocess.run(worker, cwd=slot, capture_output=True, text=True, timeout=60)
    assert done.returncode == 206, done.stderr


def test_without_a_client_it_runs_as_a_plain_program(slot, job, crystal):
    job([crystal])
    for name in ("init_data.xml", "boinc_mmap_file"):
        (slot / name).unlink()
    worker = [sys.executable, "-m", "xtalgrid_worker", "boinc"]
    done = subprocess.run(worker, cwd=slot, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert uploaded(slot).exists()
    assert not list(slot.glob("boinc_*"))
    (slot / "unit.zip").write_bytes(b"PK no zip")
    done = subprocess.run(worker, cwd=slot, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Error:" in done.stderr) == (2, True)

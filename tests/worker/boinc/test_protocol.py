"""The protocol between worker and BOINC client, byte for byte."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
import pytest

from xtalgrid_core.errors import BrokenModel, Busy, ConfigError
from xtalgrid_core.weights import find_model, read_manifest
from xtalgrid_worker.boinc import client as clients
from xtalgrid_worker.boinc import init_data, links
from xtalgrid_worker.boinc import slot as slots
from xtalgrid_worker.boinc.client import Client
from xtalgrid_worker.boinc.init_data import InitData
from xtalgrid_worker.boinc.memory import Channel, SharedMemory
from xtalgrid_worker.stopping import Stopped

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="on Windows the memory is no file")


class Clock:
    """A clock that advances only by sleeping, and runs actions on the way: ``clock.at(0.5, action)``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._plan: list[tuple[float, Callable[[], None]]] = []
        self.process_time = time.process_time

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        due = [action for at, action in self._plan if at <= self.now]
        self._plan = [(at, action) for at, action in self._plan if at > self.now]
        for action in due:
            action()

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        self._plan.append((self.now + seconds, action))


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(clients, "time", clock)
    return clock


@pytest.fixture
def memory(slot, client_side, init) -> SharedMemory:
    return SharedMemory.attach(slot, init)


@pytest.fixture
def client(memory, init, clock) -> Client:
    return Client(memory, init, lambda: None)


def pass_safe_points(client: Client, clock: Clock, seconds: float) -> None:
    end = clock.now + seconds
    while clock.now < end:
        client()
        clock.sleep(0.02)


def test_init_data_that_is_not_valid_xml_is_read(init, tmp_path):
    assert (init.client, init.job, init.cpu_time) == ("7.20.5", "unit_1_0", 12.5)
    assert init.client_pid
    assert init_data.read(tmp_path) is None


def test_init_data_without_a_process_id(slot):
    (slot / "init_data.xml").write_text("<app_init_data>\n<wu_cpu_time>?</wu_cpu_time>\n</app_init_data>\n")
    assert init_data.read(slot) == InitData(client="..", job="", client_pid=None, cpu_time=0.0, mapping="")


def test_only_soft_links_are_resolved(slot, link, tmp_path):
    target = link("unit.zip", "unit_1.zip")
    assert links.resolve(slot, "unit.zip").resolve() == target
    assert not target.exists(), "the target of a result doesn't exist yet"
    (slot / "plain").write_bytes(b"PK\3\4 no link\n")
    (slot / "real").symlink_to(tmp_path)
    for name in ("plain", "real", "missing"):
        assert links.resolve(slot, name) == slot / name


def test_weights_are_found_through_their_links(slot, link, tiny_weights):
    assert links.weights_folder(slot) is None
    manifest = read_manifest(tiny_weights)
    named = msgspec.structs.replace(
        manifest, models=tuple(msgspec.structs.replace(m, file=f"{m.sha256}.onnx") for m in manifest.models)
    )
    link("weights.json", "weights_1.json").write_bytes(msgspec.json.encode(named))
    for model in manifest.models:
        link(f"{model.sha256}.onnx", f"{model.sha256}.onnx").write_bytes((tiny_weights / model.file).read_bytes())
    folder = links.weights_folder(slot)
    for model in manifest.models:
        assert find_model(model.sha256, model.role, [folder])[1] == (tiny_weights / model.file).read_bytes()

    link("weights.json", "weights_1.json").write_bytes(b'{"schema":9}')
    with pytest.raises(BrokenModel, match=r"weights\.json: .*; make the work unit again"):
        links.weights_folder(slot)


def test_a_message_waits_until_it_is_read(memory, client_side):
    assert memory.receive(Channel.CONTROL) is None
    client_side.say(client_side.CONTROL, "<suspend/>")
    assert memory.receive(Channel.CONTROL) == "<suspend/>"
    assert client_side.is_taken(client_side.CONTROL)
    assert memory.send(Channel.STATUS, "first")
    assert not memory.send(Channel.STATUS, "second")
    assert client_side.status() == "first"
    assert memory.send(Channel.STATUS, "a")
    assert client_side.status() == "a", "the rest of a longer message must not show"
    with pytest.raises(ValueError, match="1023"):
        memory.send(Channel.STATUS, "x" * 1023)


def test_missing_shared_memory_is_an_error_with_a_remedy(slot, init):
    with pytest.raises(ConfigError, match="api_version"):
        SharedMemory.attach(slot, init)


def test_status_includes_earlier_runs_and_checkpoints_increase(client, client_side):
    checkpoints = []
    for number in range(1, 4):
        client.progress(number / 4, is_checkpoint=True)
        client.send_final_status()
        status = dict(re.findall(r"<(\w+)>([^<]+)</\1>", client_side.status()))
        assert float(status["current_cpu_time"]) >= float(status["checkpoint_cpu_time"]) > 12.5
        assert status["want_network"] == "0"
        checkpoints.append((float(status["checkpoint_cpu_time"]), float(status["fraction_done"])))
    assert sorted(set(checkpoints)) == checkpoints
    assert [fraction for _, fraction in checkpoints] == [0.25, 0.5, 0.75]

    client.progress(1.0, is_checkpoint=False)
    client.send_final_status()
    assert f"<checkpoint_cpu_time>{checkpoints[-1][0]:.6f}<" in client_side.status()


def test_it_sends_its_status_every_second_and_reads_all_messages(client, client_side, clock):
    sent = 0
    for _ in range(5):
        for offset in (client_side.HEARTBEAT, client_side.TRICKLE_DOWN, client_side.CONTROL):
            client_side.say(offset, "<reread_app_info/>")
        pass_safe_points(client, clock, 1)
        sent += client_side.status() is not None
        assert client_side.status() is None
        assert all(map(client_side.is_taken, (client_side.HEARTBEAT, client_side.TRICKLE_DOWN, client_side.CONTROL)))
    assert sent == 5
    pass_safe_points(client, clock, 0.4)
    assert client_side.status() is not None
    pass_safe_points(client, clock, 0.4)
    assert client_side.status() is None


def test_while_suspended_it_sends_nothing_until_resumed(client, client_side, clock):
    client()
    client_side.status()
    client_side.say(client_side.CONTROL, "<suspend/>")
    clock.at(20.0, lambda: client_side.say(client_side.CONTROL, "<resume/>"))
    clock.at(19.9, lambda: statuses.append(client_side.status()))
    statuses = []
    before = clock.now
    pass_safe_points(client, clock, 1)
    assert 20 <= clock.now - before < 21.5
    assert statuses == [None]


@pytest.mark.parametrize(("word", "code"), [("<quit/>", 0), ("<abort/>", 194)])
@pytest.mark.parametrize("suspended", [False, True])
def test_it_stops_on_quit_and_abort(client, client_side, clock, word, code, suspended):
    if suspended:
        client_side.say(client_side.CONTROL, "<suspend/>")
    clock.at(2, lambda: client_side.say(client_side.CONTROL, word))
    before = clock.now
    with pytest.raises(Stopped):
        pass_safe_points(client, clock, 10)
    assert client.exit_code == code
    assert clock.now - before < 2.5


def test_while_suspended_it_stops_if_the_client_exits(memory, init, client_side, clock):
    def gone() -> None:
        if clock.now >= 1005:
            raise Stopped("process 1 is gone", 143)

    client_side.say(client_side.CONTROL, "<suspend/>")
    with pytest.raises(Stopped, match="gone"):
        pass_safe_points(Client(memory, init, gone), clock, 60)
    assert clock.now < 1006


def test_without_heartbeats_from_an_unknown_process_it_stops(memory, init, client_side, clock):
    client = Client(memory, InitData(client="6", job="", client_pid=None, cpu_time=0, mapping=""), lambda: None)
    for _ in range(4):
        client_side.say(client_side.HEARTBEAT, "<heartbeat/>")
        pass_safe_points(client, clock, 20)
    with pytest.raises(Stopped, match="heartbeat"):
        pass_safe_points(client, clock, 15)
    pass_safe_points(Client(memory, init, lambda: None), clock, 60)


def test_one_worker_in_a_slot(slot):
    program = (
        "import pathlib, sys, xtalgrid_worker.boinc.slot as s; "
        f"s.take_lock(pathlib.Path({str(slot)!r}), lambda: None); print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "1\n"
        waited = []
        with pytest.raises(Busy, match="another worker"):
            slots.take_lock(slot, lambda: waited.append(1), wait=0.3)
        assert waited
        other.stdin.close()
        slots.take_lock(slot, lambda: None)


def test_a_slot_whose_file_system_has_no_locks_is_not_taken_for_a_busy_one(slot, monkeypatch):
    def lockf(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", lockf)
    with pytest.raises(OSError, match=r"No locks available.*boinc_lockfile"):
        slots.take_lock(slot, lambda: None, wait=0.3)


def test_files_for_the_client(slot):
    slots.write_temporary_exit(slot, 600, "the disk\nis full")
    slots.write_finish(slot, 206)
    assert (slot / "boinc_temporary_exit").read_text() == "600\nthe disk is full\n"
    assert (slot / "boinc_finish_called").read_text() == "206\n"

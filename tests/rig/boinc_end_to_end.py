"""Score wells by a whole BOINC server and four real clients, one of which lies and one dies.

    python -m tests.rig.boinc_end_to_end PROJECT_DIR --out FOLDER --images FOLDER --worker FILE

Run it from the repository's root as the owner of a BOINC project made for trials (its web server and database up,
account creation open), with a Python that has xtalgrid[server,boinc], and with `boinc` and `boinccmd` on PATH. It
installs xtalgrid in the project, and scores the same wells

* on the local grid, with which the others are compared;
* by BOINC at quorum 1 with spot checks, and at quorum 2. At quorum 1 the client that dies never comes back; at quorum 2
  it comes back after its deadline, and all daemons are killed in the middle;
* by BOINC with one honest client and large units, to measure what BOINC costs.

It reports what became of every well and what it cost, and ends with 1 if a condition does not hold. The wells are those
of `--images`, and rendered ones to make up the number `--wells`. FILE is a frozen worker for BOINC
(dist/release/xtalgrid-worker-*-linux-x86_64), which clients download from the project; without it, all run this Python.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from tests.system.boinc_client import BoincClient, wait_until
from xtalgrid_core import wire
from xtalgrid_core.images import SUFFIXES
from xtalgrid_server.config import load
from xtalgrid_server.grids.boinc import states
from xtalgrid_server.grids.boinc.install import install
from xtalgrid_server.grids.boinc.project import Project
from xtalgrid_server.steps.assimilate.agree import TOLERANCE
from xtalgrid_server.steps.system import System
from xtalgrid_synth import render_plate

ROOT = Path(__file__).parents[2]
PATIENCE = 3600
"""Seconds for each plate."""

ASK = 15
"""Seconds between the clients' requests; left alone, they wait for hours once the project had no work for them."""

DELETED = 2
"""A value of a work unit's `file_delete_state`."""

CONFIGURATION = """[imager]
source = "{source}"
[grid]
kind = "{kind}"
[boinc]
project = "{project}"
quorum = {quorum}
spot_checks = {spot_checks}
deadline_days = {days}
[work]
wells_per_unit = {unit}
[publish]
frames = "none"
"""

Answers = dict[str, tuple[wire.Answer, str]]
"""An image's name → its answer, and the work unit that it came from."""


def main() -> None:
    """Run it all and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="folder of the BOINC project")
    parser.add_argument("--out", type=Path, required=True, help="new folder for all that is made; a short path")
    parser.add_argument("--images", type=Path, help="folder of well images")
    parser.add_argument("--worker", type=Path, help="frozen worker, made by scripts/freeze.py --boinc --release")
    parser.add_argument("--wells", type=int, default=200)
    parser.add_argument("--unit", type=int, default=20, help="wells in a unit")
    parser.add_argument("--cost-unit", type=int, default=100, help="wells in a unit where costs are measured")
    parser.add_argument("--spot-checks", type=float, default=0.3, help="part of the units checked at quorum 1")
    parser.add_argument("--deadline", type=float, default=240, help="seconds that a client has for a unit")
    parser.add_argument(
        "--only-costs", action="store_true", help="measure costs alone, on a machine that does nothing else"
    )
    given = parser.parse_args()
    server = Server(given.project.absolute(), given.out.absolute(), given)
    server.set_up(given.images)
    if not given.only_costs:
        truth = local_grid(server)
        for quorum in (1, 2):
            Trial(server, quorum, truth).run()
    costs(server)
    print("\n".join(server.report))
    sys.exit(0 if server.is_good else 1)


class Server:
    """The BOINC project, xtalgrid beside it, and the report."""

    def __init__(self, folder: Path, out: Path, given: argparse.Namespace) -> None:
        self.project = Project(folder)
        self.given, self.out = given, out
        self.home, self.toml = out / "home", out / "xtalgrid.toml"
        self.url = self.project.setting("master_url")
        self._database = sa.create_engine(self.project.database_url(), isolation_level="AUTOCOMMIT")
        self._source = f"trial-{time.time():.0f}"  # part of units' names, of which BOINC takes none twice
        self.report: list[str] = []
        self.is_good = True

    def set_up(self, images: Path | None) -> None:
        """Gather the wells; install xtalgrid, its app version and its daemons in the project; make an account."""
        hook, mark = self.project.folder / "bin" / "xtalgrid_check", self.project.folder / "for_trials"
        if hook.exists() and not mark.exists():
            sys.exit(f"{hook} belongs to an xtalgrid in use; run this on a project made for trials")
        mark.touch()
        if self.query("SELECT id FROM result WHERE server_state <> :over", over=states.ServerState.OVER):
            sys.exit("the project has work under way; wait until it ends, or cancel it with bin/cancel_jobs")
        self.out.mkdir(parents=True)
        gather(images, self.given.wells, self.out / "wells")
        self.configure()
        for line in install(load(self.toml, self.home), self.project, "open"):
            say(line)
        if self.given.worker:
            command = [sys.executable, "-m", "xtalgrid_server", "boinc", "app-version", "frozen", self.given.worker]
            run(*command, "--apps", self.project.folder / "apps")
        self._share_out()
        for arguments in (["xadd"], ["update_versions", "--noconfirm"], ["stop"], ["start"]):
            self.bin(*arguments)
        self.account = account(self.url)

    def _share_out(self) -> None:
        """Give each host one unit at a time; otherwise the first host takes most of the few there are."""
        path = self.project.folder / "config.xml"
        text = path.read_text()
        if "<max_wus_in_progress>" not in text:
            path.write_text(text.replace("<config>", "<config>\n<max_wus_in_progress>1</max_wus_in_progress>", 1))

    def configure(self, kind: str = "boinc", quorum: int = 1, spot_checks: float = 0, **more: Any) -> None:
        """Write the configuration, which hooks and steps read whenever they start."""
        more = {"source": self._source, "days": self.given.deadline / 86400, "unit": self.given.unit, **more}
        text = CONFIGURATION.format(
            kind=kind, project=self.project.folder, quorum=quorum, spot_checks=spot_checks, **more
        )
        self.toml.write_text(text)

    def enter(self, plate: str, home: Path) -> None:
        """Have the imager photograph a plate: the wells, under a barcode of their own."""
        folder = self.out / "plates" / plate
        shutil.copytree(self.out / "wells", folder, symlinks=True)
        with System(load(self.toml, home)) as system:
            system.import_folder(folder, names="any")

    def bin(self, name: str, *arguments: str) -> str:
        """Run a program of the project."""
        return run(self.project.folder / "bin" / name, *arguments, cwd=self.project.folder)

    def cron(self, *arguments: str) -> None:
        """Do what the project's crontab does every five minutes: restart dead daemons, run due tasks."""
        self.bin("start", "--cron", *arguments)

    def daemons(self) -> dict[str, int]:
        """Return the daemons' process ids by name."""
        folder = self.project.folder / f"pid_{socket.gethostname().partition('.')[0]}"
        return {path.stem: int(path.read_text()) for path in folder.glob("*.pid")}

    def instances(self, units: list[str]) -> list[Any]:
        """Return the instances of work units, each with its work unit, from BOINC's database."""
        columns = (
            "w.name, w.min_quorum, w.assimilate_state, w.file_delete_state, w.canonical_resultid, r.id, r.hostid,"
            " r.server_state, r.outcome, r.validate_state, r.sent_time, r.received_time, r.elapsed_time, r.cpu_time"
        )
        statement = f"SELECT {columns} FROM workunit w LEFT JOIN result r ON r.workunitid = w.id WHERE w.name IN :units"
        return self.query(statement, units=tuple(units))

    def query(self, statement: str, **values: Any) -> list[Any]:
        """Return rows of BOINC's database."""
        with self._database.connect() as connection:
            return list(connection.execute(sa.text(statement), values))

    def client(self, name: str, launcher: str = "") -> BoincClient:
        """Prepare a client, not started yet; with `launcher`, it runs that line and no program of the project."""
        client = BoincClient(self.out / "clients" / name, self.url, self.account)
        if launcher or not self.given.worker:
            command = [sys.executable, "-m", "xtalgrid_server", "boinc", "app-version", "own-python"]
            run(*command, "--into", client.project_folder)
        if launcher and launcher != OWN_PYTHON:
            (client.project_folder / "run_xtalgrid.sh").write_text(f"#!/bin/sh\nexec {launcher}\n")
        return client

    def note(self, text: str) -> None:
        """Report a figure."""
        say(text)
        self.report.append(f"          {text}")

    def check(self, holds: bool, text: str) -> None:
        """Report a condition and whether it holds."""
        self.note(text)
        self.report[-1] = f"{'holds ' if holds else 'FAILED'}    {text}"
        self.is_good = self.is_good and holds


OWN_PYTHON = "own python"
LIES = shlex.join([sys.executable, str(Path(__file__).with_name("lying_worker.py"))])


class Trial:
    """A plate scored by four clients, one of which lies and one dies."""

    def __init__(self, server: Server, quorum: int, truth: Answers) -> None:
        self._server, self._quorum, self._truth = server, quorum, truth
        self._plate = f"QUORUM{quorum}"
        self._has_returned = quorum == 1
        self._is_killed = False

    def run(self) -> None:
        """Score the plate and check the outcome."""
        server = self._server
        server.report.append(f"quorum {self._quorum}")
        server.configure(quorum=self._quorum, spot_checks=server.given.spot_checks)
        server.enter(self._plate, server.home)
        self._units = made_by_task(server, self._plate)
        kinds = {"dying": "", "frozen": "", "own": OWN_PYTHON, "lying": LIES}
        with contextlib.ExitStack() as stack:
            clients = {n: stack.enter_context(server.client(f"{self._plate}-{n}", k)) for n, k in kinds.items()}
            self._score(clients)
            self._hosts = {name: host_id(client) for name, client in clients.items()}
        for _ in until(lambda: not units_of(server.home, self._plate, "sent"), "the ledger has all units"):
            server.cron("--ignore-timestamps")  # the project's task xtalgrid_publish, among others
        self._check()

    def _score(self, clients: dict[str, BoincClient]) -> None:
        server, dying = self._server, clients["dying"]
        wait_until(lambda: has_checkpoint(dying), PATIENCE)
        dying.kill()
        say("the dying client is killed in the middle of a unit")
        wait_until(lambda: not dying.workers(), 60)
        back = time.monotonic() + server.given.deadline + 2 * ASK
        alive = [client for client in clients.values() if client is not dying]
        for _ in until(self._is_over, f"{self._plate} is scored"):
            if not self._has_returned and time.monotonic() > back:
                say("it comes back, too late")
                dying.start()
                alive.append(dying)
                self._has_returned = True
            if self._quorum == 2 and not self._is_killed and self._states()["assimilated"]:
                self._kill_daemons()
            for client in alive:
                client.tell("--project", server.url, "update")
            server.cron()

    def _states(self) -> dict[str, int]:
        instances = self._server.instances(self._units)
        units = {i.name: i for i in instances}.values()
        return {
            "assimilated": sum(u.assimilate_state == states.ASSIMILATED for u in units),
            "deleted": sum(u.file_delete_state == DELETED for u in units),
            "under way": sum(i.server_state != states.ServerState.OVER for i in instances),
        }

    def _is_over(self) -> bool:
        now = self._states()
        say(f"{self._plate}: {now}")
        return self._has_returned and now["assimilated"] == now["deleted"] == len(self._units) and not now["under way"]

    def _kill_daemons(self) -> None:
        killed = self._server.daemons()
        for pid in killed.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._is_killed = True
        say(f"killed: {', '.join(killed)}")

    def _check(self) -> None:
        """Compare with the local grid, and with what BOINC records about the hosts."""
        server, truth = self._server, self._truth
        got = exactly_once(server, self._plate)
        wrong = [name for name in got if difference(got[name][0], truth[name][0]) > TOLERANCE]
        others = max(difference(got[name][0], truth[name][0]) for name in got if name not in wrong)
        instances = server.instances(self._units)
        canonical = {i.name: i.hostid for i in instances if i.id == i.canonical_resultid}
        checked = {i.name for i in instances if i.min_quorum > 1}
        lies = [i for i in instances if i.hostid == self._hosts["lying"] and i.outcome == states.Outcome.SUCCESS]
        caught = [i for i in lies if i.name in checked and i.validate_state == states.ValidateState.INVALID]
        lied = {got[name][1] for name in wrong}
        server.check(
            bool(lies), f"the lying client returned {len(lies)} results, each of other outcomes and probabilities"
        )
        if self._quorum == 2:
            server.check(self._is_killed, "all daemons were killed in the middle, and started by cron")
            server.check(len(caught) == len(lies), f"rejected of the lying client's results: {len(caught)}")
        else:
            server.note(
                f"spot-checked: {len(checked)} of {len(self._units)} units, {len(caught)} of the lies among them"
            )
        server.check(not lied & checked, f"no wrong score in the {len(checked)} units that two hosts scored")
        server.check(
            {canonical[name] for name in lied} <= {self._hosts["lying"]},
            "no wrong score but the lying client's, in units that nobody checked: "
            f"{len(wrong)} wells in {len(lied)} units",
        )
        server.note(f"largest difference of the {len(got) - len(wrong)} other scores to the local grid's: {others:.1g}")
        dead = [i for i in instances if i.hostid == self._hosts["dying"]]
        server.check({i.name for i in dead} <= set(canonical), f"the dead client's units were scored: {said_of(dead)}")
        names = [unit for unit in self._units if server.project.downloads(f"{unit}.zip").exists()]
        uploads = Path(server.project.setting("upload_dir")).rglob("*_r*_0")
        names += [path.name for path in uploads if path.name.rpartition("_r")[0].rpartition("_")[0] in self._units]
        server.check(not names, f"the file deleter has removed every zip and every result: {len(names)} are left")
        server.note(f"{len(instances)} instances of {len(self._units)} units: {said_of(instances)}")


def costs(server: Server) -> None:
    """Measure, with one honest client, what BOINC costs the host and the server."""
    plate, size, wells = "COSTS", server.given.cost_unit, server.given.wells
    server.report.append(f"costs, by units of {size} wells")
    server.configure(unit=size, days=1)
    server.enter(plate, server.home)
    before = {name: cpu_of(pid) for name, pid in server.daemons().items()}
    made = children_cpu(lambda: server.bin("xtalgrid_create_work"))
    units = units_of(server.home, plate)
    for unit in units:
        shutil.copy(server.project.downloads(f"{unit}.zip"), server.out)

    def is_over() -> bool:
        return all(i.assimilate_state == states.ASSIMILATED for i in server.instances(units))

    with server.client(plate) as client:
        for _ in until(is_over, "costs are measured"):
            if not client.workers():
                client.tell("--project", server.url, "update")
        of_client = cpu_of(client.pid, children=False)
    spent = {name: cpu_of(pid) - before.get(name, 0) for name, pid in server.daemons().items()}
    command = [sys.executable, "-m", "xtalgrid_server", "--config", server.toml, "--home", server.home, "assimilate"]
    taken = children_cpu(lambda: run(*command))
    exactly_once(server, plate)

    jobs = [i for i in server.instances(units) if i.outcome == states.Outcome.SUCCESS]
    elapsed, cpu = sum(j.elapsed_time for j in jobs), sum(j.cpu_time for j in jobs)
    program = [server.given.worker.absolute()] if server.given.worker else [sys.executable, "-m", "xtalgrid_worker"]
    start = time.monotonic()
    plain = children_cpu(
        lambda: [run(*program, "run", "--keep-priority", f"{u}.zip", f"{u}.json", cwd=server.out) for u in units]
    )
    clock = time.monotonic() - start
    server.note(f"{len(jobs)} jobs by the client's account: {elapsed:.1f} s elapsed, {cpu:.1f} s CPU")
    server.note(f"the same units by the same program without BOINC: {clock:.1f} s elapsed, {plain:.1f} s CPU")
    server.note(f"the client itself: {of_client:.1f} s CPU")
    server.note(f"from sent to reported: {sum(j.received_time - j.sent_time for j in jobs):.0f} s")
    own = 100 * (elapsed + of_client - clock) / clock
    server.check(own < 10, f"BOINC's own part: {own:.1f} % more time than without it (< 10 %)")
    parts = {
        "create_work": made,
        "validate": spent.pop("script_validator_xtalgrid"),
        "assimilate": spent.pop("script_assimilator_xtalgrid") + taken,
    }
    total = 1000 * sum(parts.values()) / wells
    each = ", ".join(f"{name} {1000 * seconds / wells:.1f}" for name, seconds in {**parts, **spent}.items())
    server.note(f"CPU of the server, ms a well: {each}")
    server.check(total <= 20, f"create_work, validate and assimilate: {total:.1f} ms a well (<= 20)")


def local_grid(server: Server) -> Answers:
    """Return what workers on this machine answer without BOINC."""
    home = server.out / "local"
    server.configure(kind="local")
    server.enter("LOCAL", home)
    with System(load(server.toml, home)) as system:
        system.create_work()
        system.work()
        system.assimilate()
    return answers(home, "LOCAL")


# ---- the ledger ----------------------------------------------------------------------------------------------------


def made_by_task(server: Server, plate: str) -> list[str]:
    """Have the project's periodic task make a plate's work units; return their names."""
    server.cron("--ignore-timestamps")
    number = -(-server.given.wells // server.given.unit)
    for _ in until(lambda: len(units_of(server.home, plate, "sent")) == number, f"create_work makes {number} units"):
        pass
    return units_of(server.home, plate)


def exactly_once(server: Server, plate: str) -> Answers:
    """Return a plate's answers, and check that no well is lost and none scored twice."""
    got, wells = answers(server.home, plate), server.given.wells
    count = "SELECT COUNT(*) FROM scores s JOIN images i ON i.id = s.image_id WHERE barcode = ?"
    scores = ledger(server.home, count, plate)[0][0]
    server.check(len(got) == wells, f"no well lost: {len(got)} of {wells} have a score")
    server.check(scores == wells, f"no well scored twice: {scores} scores")
    return got


def answers(home: Path, plate: str) -> Answers:
    """Return a plate's answers from the ledger."""
    statement = (
        "SELECT i.image_name, s.answer, u.name || '.1' FROM scores s JOIN images i ON i.id = s.image_id"
        " JOIN results r ON r.id = s.result_id JOIN units u ON u.id = r.unit_id WHERE i.barcode = ?"
    )
    rows = ledger(home, statement, plate)
    return {name: (msgspec.json.decode(answer, type=wire.Answer), unit) for name, answer, unit in rows}


def units_of(home: Path, plate: str, state: str = "") -> list[str]:
    """Return the names of a plate's work units; with `state`, of those in that state."""
    statement = (
        "SELECT DISTINCT u.name || '.1',"
        " (SELECT state FROM unit_states s WHERE s.unit_id = u.id ORDER BY s.id DESC LIMIT 1)"
        " FROM units u JOIN unit_images ui ON ui.unit_id = u.id JOIN images i ON i.id = ui.image_id WHERE i.barcode = ?"
    )
    return [name for name, now in ledger(home, statement, plate) if state in ("", now)]


def ledger(home: Path, statement: str, *values: Any) -> list[Any]:
    """Return rows of the ledger."""
    with contextlib.closing(sqlite3.connect(home / "ledger.db", timeout=60)) as database:
        return database.execute(statement, values).fetchall()


def difference(a: wire.Answer, b: wire.Answer) -> float:
    """Return the largest difference of two answers' probabilities; 1 if the outcomes differ."""
    if isinstance(a, wire.Failed) or isinstance(b, wire.Failed):
        return float(a != b)
    if a.outcome != b.outcome or len(a.probabilities) != len(b.probabilities):
        return 1.0
    one, other = ((x.probability, x.p_crystal, x.drop.confidence, *x.probabilities) for x in (a, b))
    return max(abs(p - q) for p, q in zip(one, other, strict=True))


# ---- clients -------------------------------------------------------------------------------------------------------


def account(url: str) -> str:
    """Return the key of the trial account, creating the account if necessary."""
    email = "trial@example.org"
    word = hashlib.md5(f"trial{email}".encode(), usedforsecurity=False).hexdigest()
    query = urllib.parse.urlencode({"email_addr": email, "passwd_hash": word, "user_name": "trial"})
    address = f"{url}create_account.php?{query}"
    with urllib.request.urlopen(address, timeout=60) as page:
        text = page.read().decode(errors="replace")
    match = re.search(r"<authenticator>(\w+)</authenticator>", text)
    if match is None:
        sys.exit(f"{url}: no account could be made: {text.strip()[:300]}")
    return match[1]


def has_checkpoint(client: BoincClient) -> bool:
    """Say whether a job of the client has reached a checkpoint."""
    return any(float(s) > 0 for s in re.findall(r"CPU time at last checkpoint: ([\d.]+)", client.tell("--get_tasks")))


def host_id(client: BoincClient) -> int:
    """Return the number under which the project knows a client."""
    state = (client.folder / "client_state.xml").read_text(errors="replace")
    return int(re.search(r"<hostid>(\d+)</hostid>", state)[1])


def said_of(instances: list[Any]) -> str:
    """Count how instances ended."""
    ended = Counter(
        f"{states.Outcome(i.outcome).name} {states.ValidateState(i.validate_state).name}" for i in instances
    )
    return ", ".join(f"{number} {how.lower().replace('_', ' ')}" for how, number in ended.items())


# ---- helpers ------------------------------------------------------------------------------------------------------


def gather(images: Path | None, wells: int, to: Path) -> None:
    """Link to images as 000.jpg and so on, and render wells to make up the number."""
    paths = sorted(path for path in images.iterdir() if path.suffix.lower() in SUFFIXES)[:wells] if images else []
    if len(paths) < wells:
        paths += render_plate(to.with_name("rendered"), barcode="RENDERED", seed=2026, wells=wells - len(paths))
    to.mkdir()
    for number, path in enumerate(paths):
        (to / f"{number:03d}{path.suffix.lower()}").symlink_to(path.absolute())


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a program; return its output."""
    arguments = [str(word) for word in command]
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{shlex.join(arguments)}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def until(condition: Callable[[], bool], what: str) -> Iterator[None]:
    """Yield every `ASK` seconds until the condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"not within {PATIENCE} s: {what}")
        yield
        time.sleep(ASK)


def children_cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the processes that `work` starts and waits for."""

    def now() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = now()
    work()
    return now() - before


def cpu_of(pid: int, *, children: bool = True) -> float:
    """Return the CPU seconds of a process, and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if children else 13])) / os.sysconf("SC_CLK_TCK")


def say(text: str) -> None:
    """Print a line of the log."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

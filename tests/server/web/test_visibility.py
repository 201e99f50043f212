"""`viewer.visibility = "projects"`: every address of the threat model, walked by members and by outsiders.

Everything about the hidden plates carries a mark that no other plate has, so a page that shows any of it is found,
whatever it shows. A new address is walked as soon as it stands in docs/threat-model.md.
"""

from __future__ import annotations

import io
import json
import re
import sqlite3
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace as changed
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from tests.server.conftest import answer, draw_well, result_of
from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError, FailureReason
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import default_models
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.drop_notes import DropNote
from xtalgrid_server.ledger.marks import Mark
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.steps.system import System
from xtalgrid_server.storage.people import read_people
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.auth.passwords import hash_password
from xtalgrid_server.web.pages.downloads import BY_KIND
from xtalgrid_server.web.programs import AnyProgram, ScoringProgram
from xtalgrid_server.web.routes.conditions import GROUPINGS
from xtalgrid_server.web.site import GUARDS, AllowedRequest

from .conftest import PASSWORD, Visit, token_of
from .test_threat_model import ROUTES, Route, each_route

HIDDEN, BARE, SHARED, OPEN = "HIDZQX1", "BAREZQX2", "BOTHZQX3", "OPEN0004"
"""Plates of project red, of none, of red and blue, and of blue."""
MARK = re.compile(rb"zqx", re.IGNORECASE)
LATELY = datetime.now().replace(microsecond=0) - timedelta(days=1)

FREE = {"inspection", "name", "side", "number", "group", "kind"}
"""Parts of addresses that name no plate; `number` is that of a mate of the image before it."""
PEOPLE = "project;person\nred zqx;rita\nred zqx;@reds\nblue;olga\nblue;rita\n@reds;rudi\n\nno person\nred zqx;\n"


def enter_plate(system: System, barcode: str, projects: list[str], secret: str) -> list[ImageRow]:
    """A crystal, an undecided drop that is held, a disputed and a rescored drop, a UV mate, and a file that failed.

    The crystal has marks and a note by olga, who may have seen the plate then, and is a favourite.
    """
    outcomes = (Outcome.HARVESTABLE, Outcome.UNDECIDED, Outcome.CLEAR, Outcome.PRECIPITATE)
    places = [
        ImageRow(0, barcode, 1, LATELY, Well(1, col, 1), f"{secret}_{col}_HF_99_.jpg")
        for col in range(1, len(outcomes) + 1)
    ]
    rows = []
    for place in places:
        draw_well(system.config.image_root / barcode / "1" / place.image_name, shade=place.well.col * 20)
        rows += system.imager.register([place])
    mate = changed(rows[0], image_name=rows[0].image_name.replace("_HF_", "_UV_"))
    draw_well(system.config.image_root / barcode / "1" / mate.image_name)
    system.imager.register([mate])
    segmenter, classifier = default_models()
    for version in (0.85, 0.8):  # scored again after people scored
        options = wire.Options(segmenter=segmenter, classifier=classifier, crystal_from=version)
        entries = tuple(
            wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=row.inspect_id, sha256="d" * 64)
            for n, row in enumerate(rows)
        )
        unit = f"xg_{barcode}_{round(version * 100)}"
        manifest = wire.Manifest(schema=1, unit=unit, min_worker="0.1.0", options=options, images=entries)
        system.ledger.units.add(manifest, [PlannedImage(row, "d" * 64) for row in rows])
        answers = [answer(n, outcome, 0.9, 0.9 if n == 0 else 0.1) for n, outcome in enumerate(outcomes)]
        system.ledger.scores.accept_result(
            system.ledger.units.named(unit), "f" * 64, result_of(manifest, answers), manifest
        )
        ids = {image.well.col: image for image in system.ledger.images.of_plate(barcode, [1])}
        if version == 0.85:
            for who, outcome in ((f"{secret}.who", Outcome.CLEAR), ("olga", Outcome.HARVESTABLE), ("rita", None)):
                system.ledger.corrections.add(ids[3].image_id, outcome, who, score_id=ids[3].score_id)
            for who in ("olga", "rita"):
                system.ledger.corrections.add(ids[4].image_id, Outcome.HARVESTABLE, who, score_id=ids[4].score_id)
    mark_drop(system, ids[1].image_id, rows[0], secret)
    held = {"score_id": ids[2].score_id, "inspect_id": ids[2].inspect_id, "action": "hold", "csv_row": '{"why": "x"}'}
    system.ledger.decisions.add(f"run {barcode}", [held])
    system.ledger.failures.add(f"/{barcode}/{secret}.jpg", "create_work", FailureReason.UNREADABLE_FILE, secret)
    for col, project in enumerate(projects, start=1):
        inside = Contents(barcode, Well(1, col, 1), project, f"sample {secret}", f"condition {secret}")
        system.ledger.contents.record([inside])
    return rows


def mark_drop(system: System, image_id: int, row: ImageRow, secret: str) -> None:
    of_mark = {"image_id": image_id, "kind": "point", "x": 9, "y": 9, "at": LATELY, "note": f"edge {secret}"}
    of_drop = {"barcode": row.barcode, "well": row.well, "at": LATELY}
    mark, found, note, favourite = keys_of(image_id)
    system.ledger.marks.add(
        [
            Mark(who="olga", key=mark, **of_mark),
            Mark(who=f"{secret}-finder", given_by="program", key=found, **of_mark),
        ]
    )
    system.ledger.drop_notes.add(DropNote(kind="note", text=f"grew {secret}", who="olga", key=note, **of_drop))
    system.ledger.drop_notes.add(DropNote(kind="favourite", who=f"{secret}.fan", key=favourite, **of_drop))


def keys_of(image_id: int) -> list[str]:
    """The keys of what `mark_drop` entered."""
    return [f"{kind}{image_id:031x}" for kind in range(4)]


class Lab:
    """The viewer, browsers of people who are signed in, and the ids of the plates' first drops and scores."""

    def __init__(self, config: Config) -> None:
        self.config = config
        with System(config) as system:
            for barcode, projects in (
                (HIDDEN, ["red zqx"]),
                (BARE, []),
                (SHARED, ["red zqx", "blue"]),
                (OPEN, ["blue"]),
            ):
                enter_plate(system, barcode, projects, "open" if barcode == OPEN else barcode.lower())
            for name in ("rita", "rudi", "olga", "nina", "boss"):
                system.ledger.users.set_password(name, hash_password(PASSWORD), "test")
            self.first = {each: system.ledger.images.of_plate(each, [1])[0] for each in (HIDDEN, BARE, SHARED, OPEN)}
        self.app = create_app(config)
        self.browsers: dict[str, Visit] = {}

    def __call__(self, name: str) -> Visit:
        if name not in self.browsers:
            client = Visit(self.app, base_url="http://localhost", raise_server_exceptions=True)
            if name:
                assert client.fill("/sign-in", "/sign-in", name=name, password=PASSWORD).status_code == 303
            self.browsers[name] = client
        return self.browsers[name]

    def program(self, name: str, scope: str = "score") -> Visit:
        """A program with a token of a person."""
        key = f"{name} {scope}"
        if key not in self.browsers:
            token = self.app.state.site.authentication.tokens.make(name, scope, scope, 1, "test")
            headers = {"Authorization": f"Bearer {token}"}
            self.browsers[key] = Visit(self.app, base_url="http://localhost", headers=headers)
        return self.browsers[key]

    def senders(self, name: str, route: Route) -> list[Visit]:
        """A person's browser and program, as far as an address is for them."""
        by_browser = [] if route.who == "token" else [self(name)]
        has_program = route.method == "GET" or route.who == "token"
        return [*by_browser, self.program(name)] if has_program else by_browser

    def filled(self, route: Route, of: str, **values: str) -> str:
        known = {"inspection": "1", "name": str(self.first[of].well), "side": "320", "number": "0", "group": "crystal"}
        known["kind"] = "csv"
        known |= self.ids(of) | values
        return re.sub(r"{(\w+)}", lambda found: known[found.group(1)], route.address)

    def ids(self, of: str) -> dict[str, str]:
        """What the parts of addresses that name a plate are for one."""
        image = self.first[of]
        image_id = str(image.image_id)
        known = {"barcode": of, "image_id": image_id, "other_id": image_id, "score_id": str(image.score_id)}
        return known | {"mark": keys_of(image.image_id)[1]}

    def state(self) -> list[str]:
        """All rows that a change of a drop adds to."""
        own = r'INSERT INTO "?(sessions|attempts|visits|links|users|notif|tokens)'
        with closing(sqlite3.connect(self.config.home / "ledger.db")) as connection:
            return [row for row in connection.iterdump() if not re.match(own, row)]


def write_people(home: Path, text: str = PEOPLE) -> Path:
    file = home.parent / "people.csv"
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("lab") / "home"
    people = write_people(home)
    keys = f'sign_in = "users"\nurl = "http://localhost"\nvisibility = "projects"\npeople_file = "{people}"'
    lab = Lab(from_string(f'[viewer]\n{keys}\nsee_all = ["boss"]\n', home=home))
    with Visit(lab.app):
        yield lab


GETS = [route for route in ROUTES if route.method == "GET"]
NAMING = [route for route in ROUTES if set(re.findall(r"{(\w+)}", route.address)) & GUARDS.keys()]
POSTS = [route for route in ROUTES if route.method == "POST" and route.who != "everybody"]


def by_address(routes: list[Route]) -> Callable[..., None]:
    return pytest.mark.parametrize("route", routes, ids=[route.address for route in routes])


@each_route
def test_each_part_of_an_address_is_known_to_name_a_plate_or_none(route):
    if route.address != "/static/{name}":
        parts = set(re.findall(r"{(\w+)}", route.address))
        assert parts <= GUARDS.keys() | FREE, "add it to GUARDS in web/site.py, or to FREE here if it names no plate"


@by_address(NAMING)
def test_an_outsider_finds_no_hidden_plate_and_a_member_does(lab, route):
    for barcode in (HIDDEN, SHARED, BARE):
        ids = lab.ids(barcode)
        absent = dict.fromkeys(ids, "987654")
        check_is_as_absent(lab, route, lab.filled(route, barcode), lab.filled(route, barcode, **absent))
        for part in set(re.findall(r"{(\w+)}", route.address)) & ids.keys():  # alone, beside what olga may see
            one_hidden, one_absent = (lab.filled(route, OPEN, **{part: of[part]}) for of in (ids, absent))
            check_is_as_absent(lab, route, one_hidden, one_absent)
    for name, barcode in (("rita", HIDDEN), ("rudi", HIDDEN), ("rita", SHARED), ("boss", BARE), ("olga", OPEN)):
        for sender in lab.senders(name, route):
            shown = sender.request(route.method, lab.filled(route, barcode))
            assert shown.status_code in (200, 303), (name, barcode, shown.text[:300])


def check_is_as_absent(lab: Lab, route: Route, hidden: str, absent: str) -> None:
    """Nobody is told that there is one."""
    for sender in lab.senders("olga", route):
        told = [sender.request(route.method, address, follow_redirects=False) for address in (hidden, absent)]
        assert [each.status_code for each in told] == [404, 404], told[0].text
        assert _without(told[0].text, HIDDEN, SHARED, BARE) == _without(told[1].text, "987654")


def _without(page: str, *names: str) -> str:
    for name in names:
        page = page.replace(name, "…")
    page = re.sub(r"/(image|mate|thumbnail|framed|map)[\w/.]*", "", page)
    return re.sub(r'(value|form-token)="\w+"', "", re.sub(r"then=[^\"]*", "", page))


@by_address(GETS)
def test_no_page_tells_an_outsider_of_a_hidden_plate(lab, route):
    for query in (
        "",
        "?q=condition",
        "?q=HID&older=1",
        "?older=1&of=all&limit=1000",
        "?project=red&condition=condition",
        "?q=grew&favourites=1",
        *(f"?outcome=any&by={by}" for by in GROUPINGS),
    ):
        for name, sender in (
            ("olga", lab("olga")),
            ("olga", lab.program("olga")),
            ("nina", lab("nina")),
            ("", lab("")),
        ):
            answer = sender.get(lab.filled(route, OPEN) + query)
            assert not MARK.search(text_of(answer)), (name, query, MARK.search(text_of(answer)))
            if not name and route.who not in ("everybody", "program"):
                assert "Sign in" in answer.text or answer.status_code in (401, 403)


def text_of(answer: httpx2.Response) -> bytes:
    """All text of an answer, also within a zip file or Parquet; pictures and PDF have none that could be searched."""
    data, kind = answer.content, answer.headers.get("content-type", "")
    if kind.startswith("image/") or kind == "application/pdf":
        return b""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = b"\n".join(name.encode() + archive.read(name) for name in archive.namelist())
    elif data.startswith(b"PAR1"):
        data = str(pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()).encode()
    return re.sub(rb"[A-Za-z0-9+/=]{200,}", b"", data)  # pictures in base64 have any three letters somewhere


@pytest.mark.parametrize("kind", BY_KIND)
def test_a_download_in_any_form_has_the_plate_alone_and_is_for_who_may_see_it(lab, kind):
    def ask(name: str, barcode: str) -> httpx2.Response:
        return lab(name).get(f"/plate/{barcode}/1/export/{kind}")

    assert [ask("olga", barcode).status_code for barcode in (HIDDEN, SHARED, BARE)] == [404] * 3
    assert (ask("olga", OPEN).status_code, ask("rita", HIDDEN).status_code) == (200, 200)
    assert not MARK.search(text_of(ask("olga", OPEN)))
    if kind not in ("marco", "texrank"):  # which have no line without a second opinion
        assert MARK.search(text_of(ask("rita", HIDDEN)))  # so that the line before can fail


def found_of(page: str) -> list[list[str]]:
    """First and second column of the list of conditions: what the drops have in common, and how many there are."""
    body = re.search(r'class="list">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", body.group(1), re.DOTALL) if body else []
    return sorted([cell.strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)[:2]] for row in rows)


def test_a_search_of_conditions_counts_what_one_sees(lab):
    def ask(name: str, query: str) -> list[list[str]]:
        return found_of(lab(name).get(f"/conditions?outcome=any&{query}").text)

    for _ in range(2):  # what is remembered of one person's search is of no other's
        assert ask("boss", "by=plate") == sorted([each, "4"] for each in (HIDDEN, BARE, SHARED, OPEN))
        assert ask("rita", "by=plate") == sorted([each, "4"] for each in (HIDDEN, SHARED, OPEN))
        assert ask("olga", "by=plate") == [[OPEN, "4"]]
        assert ask("nina", "by=plate") == []
        # BOTHZQX3 has a drop of blue too
        assert [number for name, number in ask("rita", "by=project") if name == "blue"] == ["2"]
        assert ask("olga", "by=project&project=blue") == [["blue", "1"]]
    assert ask("olga", f"by=plate&barcode={HIDDEN}") == []
    assert ask("rita", f"by=plate&barcode={HIDDEN}") == [[HIDDEN, "4"]]


@pytest.mark.parametrize("address", ["/", "/?q=condition", "/?q=grew", "/inbox", "/operations", "/api/plates"])
def test_a_member_is_told_of_it(lab, address):
    """So that the test before this one can fail."""
    assert MARK.search(lab("rita").get(address).content)
    assert b"BAREZQX2" not in lab("rita").get(address).content
    assert (b"BAREZQX2" in lab("boss").get(address).content) == ("condition" not in address)
    assert OPEN.encode() in lab("olga").get(address).content
    assert not MARK.search(lab("nina").get(address).content)


def test_a_new_page_that_forgets_to_ask_shows_nothing_either(lab):
    """What `AllowedRequest` checks by itself, before a page's own code."""
    app, image = create_app(lab.config), lab.first[HIDDEN]

    @app.get("/forgetful/plate/{barcode}")
    @app.get("/forgetful/image/{image_id:int}")
    @app.get("/forgetful/other/{other_id:int}")
    @app.get("/forgetful/score/{score_id:int}")
    def forgetful(_: AllowedRequest) -> str:
        return HIDDEN

    @app.post("/forgetful/read/{barcode}")
    def reading(_: AnyProgram) -> str:
        return HIDDEN

    @app.post("/forgetful/score/{barcode}")
    def scoring(_: ScoringProgram) -> str:
        return HIDDEN

    with Visit(app, base_url="http://localhost") as client:
        for name, status in (("olga", 404), ("rita", 200)):
            client.fill("/sign-in", "/sign-in", name=name, password=PASSWORD)
            number = image.image_id
            for part in (f"plate/{HIDDEN}", f"image/{number}", f"other/{number}", f"score/{image.score_id}"):
                assert client.get(f"/forgetful/{part}").status_code == status, (name, part)
            headers = lab.program(name).headers
            for part in ("read", "score"):
                assert client.post(f"/forgetful/{part}/{HIDDEN}", headers=headers).status_code == status, (name, part)


@by_address(POSTS)
def test_an_outsider_changes_no_hidden_plate(lab, route):
    client, image = lab("olga"), lab.first[HIDDEN]
    token, before = token_of(client.get("/").text), lab.state()
    own = [lab.app.state.site.ledger.corrections.of_images([n])[n] for n in range(1, 20)]
    given = next(score.id for scores in own for score in scores if score.who == "olga")
    typed = f'[{{"key": "{"a" * 32}", "image": {image.image_id}, "outcome": "clear"}}]'
    fields = {"form_token": token, "who": "olga", "outcome": "clear", "verdict": "approve", "scores": typed}
    fields |= {"given": str(given), "barcode": HIDDEN, "inspection": "1", "well": str(image.well)}
    attacks = [{"image": str(number)} for number in range(image.image_id, image.image_id + 4)]
    for attack in marking(lab, attacks) if route.address.startswith("/marks") else attacks:
        ids = {"score": [str(n) for n in range(1, image.score_id + 4)], "image_id": attack["image"]}
        answer = client.post(lab.filled(route, HIDDEN), data=fields | ids | attack, follow_redirects=False)
        assert answer.status_code < 500
        assert not MARK.search(answer.text.encode())
        assert not MARK.search(answer.headers.get("location", "").encode())
    assert lab.state() == before


def marking(lab: Lab, pictures: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """All that the routes of marks take: new entries, and undoing those of `mark_drop`, also as if of a seen picture."""
    undoings = [{"what": "undo", "undoes": key} for key in keys_of(lab.first[HIDDEN].image_id)]
    new = [{"what": "mark", "x": 9, "y": 9}, {"what": "note", "text": "x"}, {"what": "favourite", "on": True}]
    seen = {"image": str(lab.first[OPEN].image_id)}
    for picture, entries in (*((each, new + undoings) for each in pictures), (seen, undoings)):
        for entry in entries:
            typed = {"key": "a" * 32, "image": int(picture["image"]), **entry}
            form = {name: "1" if value is True else str(value) for name, value in entry.items()}
            yield {"entries": json.dumps([typed]), **picture, **form}


def places(lab: Lab, of: str) -> list[dict[str, object]]:
    """What programs call a plate's first drop."""
    return [{"image_id": lab.first[of].image_id}, {"barcode": of, "inspection": 1, "well": str(lab.first[of].well)}]


SENT = {"scores": {"outcome": "clear"}, "marks": {"x": 9, "y": 9}}


@pytest.mark.parametrize("what", SENT)
def test_an_outsiders_program_changes_no_hidden_plate_and_a_members_does(lab, what):
    def send(name: str, place: dict[str, object]) -> tuple[int, str]:
        one = {"key": f"{name} {place}", **place, **SENT[what]}
        answer = lab.program(name).post(f"/api/{what}", json={what: [one]})
        assert answer.status_code == 200, answer.text
        return answer.json()["accepted"], answer.json()["results"][0]["refused"]

    absent = {"image_id": 987654}, {"barcode": "987654", "inspection": 1, "well": "A1a"}
    before = lab.state()
    for barcode in (HIDDEN, SHARED, BARE):
        for hidden, none in zip(places(lab, barcode), absent, strict=True):
            (accepted, why), (_, why_absent) = send("olga", hidden), send("olga", none)
            assert (accepted, why.replace(barcode, "987654")) == (0, why_absent)
            assert "There is no " in why
    assert lab.state() == before
    assert [send(name, place) for name in ("rita", "boss") for place in places(lab, HIDDEN)] == [(1, None)] * 4


def test_a_token_that_only_reads_tells_no_more_of_a_hidden_mark(lab):
    """The answers are the same for a mark that is hidden, seen or absent."""
    marks = [lab.ids(HIDDEN)["mark"], lab.ids(OPEN)["mark"], "0" * 32]
    told = [lab.program("olga", "read").delete(f"/api/marks/{mark}") for mark in marks]
    assert {(each.status_code, each.text) for each in told} == {(403, told[0].text)}


def test_what_a_program_sent_is_out_of_its_reach_once_the_plate_is_hidden(lab):
    program, (_, place) = lab.program("olga"), places(lab, OPEN)
    score = {"scores": [{"key": "mine", **place, "outcome": "clear"}]}
    undo = {"keys": ["mine"]}

    def refused(answer: httpx2.Response) -> str | None:
        return answer.json()["results"][0]["refused"]

    assert refused(program.post("/api/scores", json=score)) is None
    mark = program.post("/api/marks", json={"marks": [{"key": "m", **place, "x": 1, "y": 1}]}).json()["results"][0]
    with System(lab.config) as system:
        try:
            system.ledger.contents.record([Contents(OPEN, Well(1, 1, 1), "red zqx", "sample open")])
            time.sleep(1.1)
            before = lab.state()
            assert "There is no plate" in refused(program.post("/api/scores", json=score))
            assert "no score with this key" in refused(program.post("/api/scores/undo", json=undo))
            assert program.delete(f"/api/marks/{mark['mark']}").status_code == 404
            assert found_of(lab("olga").get("/conditions?outcome=any&by=plate").text) == []
            assert lab.state() == before
        finally:
            system.ledger.contents.record([Contents(OPEN, Well(1, 1, 1), "blue", "sample open", "condition open")])
            time.sleep(1.1)
    assert refused(program.post("/api/scores/undo", json=undo)) is None
    assert program.delete(f"/api/marks/{mark['mark']}").status_code == 200


def test_counts_are_of_what_one_sees(lab):
    held = r"Held</dt><dd>(\d+)<"
    assert re.search(held, lab("olga").get("/operations").text).group(1) == "1"
    assert re.search(held, lab("rita").get("/operations").text).group(1) == "3"
    assert "1–1 of 1" in lab("olga").get("/").text
    assert "1–4 of 4" in lab("boss").get("/").text


def test_the_file_is_read_again_and_without_it_nobody_sees_a_plate(lab, monkeypatch):
    file = Path(lab.config.viewer.people_file)
    try:
        file.write_text("person,project\nnina,red zqx\n")
        time.sleep(1.1)
        assert [lab(name).get(f"/plate/{HIDDEN}/1").status_code for name in ("nina", "rita")] == [200, 404]
        file.unlink()
        time.sleep(1.1)
        statuses = [lab(name).get(f"/plate/{HIDDEN}/1").status_code for name in ("nina", "rita", "boss")]
        assert statuses == [404, 404, 200]
    finally:
        file.write_text(PEOPLE)
        time.sleep(1.1)


def test_a_plate_that_changes_its_project_changes_who_sees_it(lab):
    with System(lab.config) as system:
        for project, sees in (("red zqx", 404), ("blue", 200)):
            system.ledger.contents.record([Contents(OPEN, Well(1, 1, 1), project, "sample open")])
            time.sleep(1.1)
            assert lab("olga").get(f"/plate/{OPEN}/1").status_code == sees


def test_bad_lines_are_named_and_the_rest_counts(tmp_path):
    file = tmp_path / "people.csv"
    lines = ["Project;note;Person", "red;x;rita", '"a;b";;rudi', "red;;", ";;rita", "red;x;y;z", "@g;;@h", "@g;;ann"]
    file.write_bytes("\r\n".join(lines).encode() + b"\r\nbl\xfcte;;ann\r\nred;;@g\r\n")
    people = read_people(file)
    assert people.projects_of("rita") == {"red"}
    assert people.projects_of("rudi") == {"a;b"}
    assert people.projects_of("ann") == {"red"}  # as a member of g
    assert people.projects_of("bob", frozenset({"g"})) == {"red"}
    assert people.projects_of("") == frozenset()
    assert [re.search(r"line (\d+)", each).group(1) for each in people.problems] == ["4", "5", "6", "7", "9"]
    assert "names" not in read_people(tmp_path / "none.csv").problems[0]
    file.write_text("red,rita\n")
    assert not read_people(file).projects


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_people_in_a_file_that_windows_wrote(tmp_path, encoding):
    file = tmp_path / "people.csv"
    file.write_bytes("project\tperson\r\nblü\tänne\r\n".encode(encoding))
    assert (read_people(file).projects_of("änne"), read_people(file).problems) == ({"blü"}, ())
    file.write_bytes(file.read_bytes()[:-1])
    assert "broken UTF-16 text; save the file as CSV UTF-8" in read_people(file).problems[0]


def test_the_command_says_who_sees_what(lab, tmp_path):
    file = tmp_path / "xtalgrid.toml"
    keys = f'visibility = "projects"\nsign_in = "users"\npeople_file = "{lab.config.viewer.people_file}"'
    file.write_text(f'[viewer]\n{keys}\nsee_all = ["boss"]\n')

    def run(*words: str) -> str:
        result = CliRunner().invoke(main, ["--config", str(file), "--home", str(lab.config.home), "projects", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    told = run()
    assert "2 plates  red zqx: @reds, rita" in told and "2 plates  blue: olga, rita" in told
    assert "1 plate  of no project" in told
    assert "line 8: it has no person" in told and "line 9: it has no person" in told
    assert run("--person", "rita").split() == [SHARED, HIDDEN, OPEN]
    assert run("--person", "olga").split() == [OPEN]
    assert "nina sees no plate" in run("--person", "nina")


def test_half_a_configuration_is_refused(tmp_path):
    for keys, said in (
        ('visibility = "projects"\npeople_file = "x"', "viewer.sign_in"),
        ('visibility = "projects"\nsign_in = "users"', "viewer.people_file: not set"),
        ('see_all = ["ann"]', "viewer.see_all: needs"),
    ):
        with pytest.raises(ConfigError, match=re.escape(said)):
            from_string(f"[viewer]\n{keys}\n", home=tmp_path)


def test_people_and_projects_are_the_same_however_their_letters_are_written(tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("project,person\nBlu\u0308,Jo\u0308rg\n@gru\u0308n,J\u00f6rg\nGrau,@gr\u00fcn\n", encoding="utf-8")
    people = read_people(file)
    for name in ("J\u00f6rg", "Jo\u0308rg"):
        assert people.projects_of(name) == {"Bl\u00fc", "Grau"}
    assert people.projects_of("ann", frozenset({"gru\u0308n"})) == {"Grau"}

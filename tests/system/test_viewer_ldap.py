"""LDAP before the viewer: a real slapd and Apache, by the very lines of docs/viewer.md."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx2
import pytest

from tests.conftest import missing
from xtalgrid_server.config import from_string

from .web_servers import HOST, Front, documented, free_port, in_front, serving

PASSWORDS = {"ann": "drops and salts", "bea": "salts and drops", "carl": "neither of them"}
GROUPS = {"xtalgrid": ("ann", "bea"), "reviewers": ("bea",), "not-reviewers": ("ann",)}
BASE = "dc=lab,dc=example"
SLAPD = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
database mdb
suffix "{base}"
rootdn "cn=admin,{base}"
rootpw secret
directory {folder}
overlay memberof
"""


def entries() -> str:
    """The directory: people, and groups of them, as LDIF."""
    found = [f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: lab\ndc: lab"]
    found += [f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}" for unit in ("people", "groups")]
    found += [
        f"dn: uid={name},ou=people,{BASE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\n"
        f"userPassword: {password}"
        for name, password in PASSWORDS.items()
    ]
    for group, names in GROUPS.items():
        members = "".join(f"\nmember: uid={name},ou=people,{BASE}" for name in names)
        found.append(f"dn: cn={group},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {group}{members}")
    return "\n\n".join(found) + "\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an LDAP server with three people."""
    slapd, ldapadd = (shutil.which(name, path="/usr/sbin:/usr/bin") for name in ("slapd", "ldapadd"))
    if not slapd or not ldapadd:
        missing("no slapd or ldapadd on this machine; Debian: apt-get install slapd ldap-utils")
    folder, port = tmp_path_factory.mktemp("slapd"), free_port()
    (folder / "slapd.conf").write_text(SLAPD.format(base=BASE, folder=folder))
    (folder / "entries").write_text(entries())
    address = f"ldap://127.0.0.1:{port}/"
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen([slapd, "-f", folder / "slapd.conf", "-h", address, "-d", "0"], stderr=said)
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "said").read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        add = [ldapadd, "-x", "-H", address, "-D", f"cn=admin,{BASE}", "-w", "secret", "-f", folder / "entries"]
        subprocess.run(add, check=True, capture_output=True, timeout=30)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def front(directory: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Apache before a viewer, both as documented."""
    config = from_string(documented("toml", "before LDAP or OIDC"), home=tmp_path_factory.mktemp("home"))
    lines = documented("apache", "LDAP").replace("ldap://ldap.lab.example/", directory)
    assert directory in lines
    with serving(config) as viewer, in_front("apache2", lines, viewer, True, free_port()) as opened:
        yield opened


@pytest.fixture
def person(front: Front) -> Iterator[Callable[..., Person]]:
    with ExitStack() as stack:
        yield lambda *who, **headers: Person(stack, front, *who, **headers)


class Person:
    """A browser whose person has typed a name and a password, and which sends headers of its own."""

    def __init__(self, stack: ExitStack, front: Front, name: str, password: str | None = None, **headers: str) -> None:
        self._origin, host = front.origin, front.origin.partition("://")[2]
        self._client = stack.enter_context(
            httpx2.Client(
                base_url=front.origin.replace(HOST, "127.0.0.1"),
                verify=ssl.create_default_context(cafile=str(front.authority)),
                auth=(name, PASSWORDS.get(name, "") if password is None else password),
                headers={"Host": host, **{key.replace("_", "-"): value for key, value in headers.items()}},
                timeout=30,
            )
        )

    def status(self) -> int:
        return self._client.get("/xtalgrid/operations").status_code

    def name(self) -> str:
        """The name that the pages show."""
        found = re.search(r'class="name"[^>]*>([^<]*)<', self._client.get("/xtalgrid/").text)
        return found.group(1) if found else ""

    def review(self) -> int:
        """Approve a score that is not held: 409 for those who may, 403 for others."""
        page = self._client.get("/xtalgrid/operations")
        token = re.search(r'name="form_token" value="(\w+)"', self._client.get("/xtalgrid/inbox").text + page.text)
        nonce = next(cookie.value for cookie in self._client.cookies.jar if cookie.name == "xtalgrid_forms")
        fields = {"form_token": token.group(1) if token else "", "verdict": "approve", "score": "1"}
        headers = {"Origin": self._origin, "Cookie": f"xtalgrid_forms={nonce}"}
        return self._client.post("/xtalgrid/operations/review", data=fields, headers=headers).status_code


def test_members_of_the_group_are_let_in_under_their_names(person):
    assert person("ann").name() == "ann"
    assert person("bea").name() == "bea"
    assert person("ANN", PASSWORDS["ann"]).name() == "ann"  # LDAP takes both for one person


@pytest.mark.parametrize(
    ("name", "password"), [("carl", None), ("ann", "wrong"), ("ann", ""), ("nobody", "x"), ("*", PASSWORDS["ann"])]
)
def test_others_are_not(person, name, password):
    assert person(name, password).status() == 401


def test_a_group_may_review(person):
    assert person("bea").review() == 409
    assert person("ann").review() == 403


def test_a_browsers_own_headers_are_removed(person):
    forged = {"X_Remote_User": "bea", "X_Remote_Groups": "reviewers", "X_Forwarded_Host": HOST}
    ann = person("ann", **forged)
    assert ann.name() == "ann" and ann.review() == 403
    assert person("carl", **forged).status() == 401
    assert person("bea", X_Remote_Groups="nobody", X_Remote_User="ann").review() == 409

"""Real web servers in front of a viewer, configured with the lines of docs/viewer.md."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.conftest import missing
from xtalgrid_server.config import Config
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.connections import viewer_server

HOST = "lab.example"
PERSON, PASSWORD = "ann", "drops and salts"
PACKAGES = {"nginx": "nginx-light", "apache2": "apache2", "caddy": "caddy"}

_DOCS = Path(__file__).parents[2] / "docs" / "viewer.md"
_USERS = {  # hashes of PASSWORD by `openssl passwd -apr1` and `caddy hash-password`
    "nginx": f"{PERSON}:$apr1$xtalgrid$KUgyltQzwTejOKh5qnhuc.",
    "apache2": f"{PERSON}:$apr1$xtalgrid$KUgyltQzwTejOKh5qnhuc.",
    "caddy": f"{PERSON} $2a$14$mOf3NEN.o/LsNo72J8cu7eotfMvWOsyiV7Kod8WdvESYE.zWnhoiK",
}
_AROUND = {
    "nginx": """daemon off; error_log {folder}/log; pid {folder}/pid; events {{ }}
http {{
    access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{around}
    server {{ listen 127.0.0.1:{port}{ssl}; {certificate}
{lines}
    }}
}}""",
    "apache2": """ServerRoot {folder}
ServerName unrelated.example
PidFile {folder}/pid
ErrorLog {folder}/log
DefaultRuntimeDir {folder}
{modules}
User www-data
Group www-data
Listen 127.0.0.1:{port}
<VirtualHost *:{port}>
{certificate}
{lines}
</VirtualHost>""",
    "caddy": """{{
    admin off
    auto_https off
{around}
}}
{scheme}://:{port} {{
    bind 127.0.0.1
    {certificate}
{lines}
}}""",
}
_CERTIFICATE = {
    "nginx": "ssl_certificate {folder}/chain; ssl_certificate_key {folder}/key;",
    "apache2": "SSLEngine on\nSSLCertificateFile {folder}/chain\nSSLCertificateKeyFile {folder}/key",
    "caddy": "tls {folder}/chain {folder}/key",
}
_COMMAND = {
    "nginx": ["nginx", "-p", "{folder}", "-c", "{folder}/conf"],
    "apache2": ["apache2", "-X", "-f", "{folder}/conf"],
    "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", "{folder}/conf"],
}
_MODULES = (
    "mpm_event authn_core ldap authnz_ldap authz_core authn_file auth_basic authz_user alias headers proxy proxy_http "
    "reqtimeout ssl"
)


@dataclass(frozen=True, slots=True)
class Front:
    """A running web server: the origin that browsers see, and the file of its certificate's authority."""

    origin: str
    authority: Path


def documented(language: str, about: str = "", around: bool = False) -> str:
    """Return the lines of docs/viewer.md in this language: for the viewer, or for what is around it.

    With `about`, those that begin with a comment about this.
    """
    head = f"# {re.escape(about)}\n" if about else ""
    lines = rf"```{language}\n({head}.*?)```"
    found: list[str] = re.findall(lines, _DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"no lines for {language} in {_DOCS}"
    return found[around]


@contextmanager
def in_front(kind: str, lines: str, viewer: int, https: bool, port: int) -> Iterator[Front]:
    """Run a web server with these lines, in front of a viewer on a port of this machine."""
    if not (program := shutil.which(kind, path="/usr/sbin:/usr/bin:/usr/local/bin")):
        missing(f"no {kind} on this machine; Debian: apt-get install {PACKAGES[kind]}")
    with tempfile.TemporaryDirectory() as name:  # not pytest's, which a web server's own account may not enter
        folder = Path(name)
        folder.chmod(0o755)
        process = _start(folder, program, kind, lines.replace("127.0.0.1:8765", f"127.0.0.1:{viewer}"), https, port)
        try:
            _wait_for(port, process, folder)
            yield Front(f"{'https' if https else 'http'}://{HOST}:{port}", folder / "authority")
        finally:
            process.terminate()
            process.wait(timeout=20)


def _start(folder: Path, program: str, kind: str, lines: str, https: bool, port: int) -> subprocess.Popen[bytes]:
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "authority")
    certificate.private_key_pem.write_to_path(folder / "key")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "chain", append=True)
    (folder / "users").write_text(_USERS[kind])
    conf = _AROUND[kind].format(
        folder=folder,
        port=port,
        scheme="https" if https else "http",
        ssl=" ssl" if https else "",
        certificate=_CERTIFICATE[kind].format(folder=folder) if https else "",
        modules="\n".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so" for m in _MODULES.split()),
        around=documented(kind, around=True) if kind != "apache2" else "",
        lines=re.sub(r"/etc/\w+/xtalgrid\.users", str(folder / "users"), lines),
    )
    (folder / "conf").write_text(conf)
    command = [program, *(word.format(folder=folder) for word in _COMMAND[kind][1:])]
    environment = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(command, stdout=said, stderr=said, env=environment)


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def serving(config: Config) -> Iterator[int]:
    """Run a viewer on a port of its own, which is returned."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = viewer_server(create_app(config), config.viewer)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < deadline, "the viewer did not start"
            time.sleep(0.05)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=30)


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, (folder / "said").read_text()
        assert time.monotonic() < deadline, "the web server did not start"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return

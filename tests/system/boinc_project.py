"""A BOINC project as a client sees it: the web pages from which it gets work and files, and which take its results.

It keeps no database and judges nothing; a real server's part is tested elsewhere.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Report:
    """What a client reported of a job at its end."""

    exit_status: int
    cpu_time: float
    stderr: str


class CodeSigningKey:
    """The RSA key of 1024 bits by which a project signs its programs, in the forms of BOINC's ``lib/crypt.cpp``."""

    _EXPONENT = 65537

    def __init__(self) -> None:
        p, q = _prime(random.Random(1)), _prime(random.Random(2))
        self._modulus = p * q
        self._private = pow(self._EXPONENT, -1, (p - 1) * (q - 1))
        self.public = f"1024\n{_hex(self._modulus)}\n{_hex(self._EXPONENT)}\n.\n"

    def signature(self, data: bytes) -> str:
        """The file's MD5, in hexadecimal, encrypted with padding 1 of PKCS #1."""
        digest = hashlib.md5(data).hexdigest().encode()
        padded = b"\0\1" + b"\xff" * (125 - len(digest)) + b"\0" + digest
        return f"{_hex(pow(int.from_bytes(padded), self._private, self._modulus))}\n.\n"


def _hex(number: int) -> str:
    return "\n".join(re.findall("." * 64, f"{number:0256x}"))


def _prime(numbers: random.Random) -> int:
    """A prime of 512 bits, by Fermat's test: good enough for a test's key, which keeps no secret."""
    while True:
        number = numbers.getrandbits(512) | (3 << 510) | 1
        if pow(2, number - 1, number) == 1 and number % 65537 != 1:
            return number


@dataclass
class Project:
    """One application, the jobs that wait for a client, and what came back. Use it in a ``with`` statement."""

    port: int = 0
    """Where it listens; 0: anywhere."""
    app_version: str = ""
    """XML of the application's version, where the server has one (`serve_app_version`)."""
    files: dict[str, bytes] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    downloads: Counter[str] = field(default_factory=Counter)
    uploads: dict[str, bytes] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)

    def __enter__(self) -> Project:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/lab/"

    def serve_app_version(self, folder: Path) -> None:
        """Serve what `xtalgrid boinc app-version` laid out for a platform, as bin/update_versions would take it up."""
        described = ET.parse(folder / "version.xml").getroot()
        program = described.findtext("file/physical_name")
        major, minor = map(int, folder.parent.name.split("."))
        self.files[program] = (folder / program).read_bytes()
        key = CodeSigningKey()
        signature = key.signature(self.files[program])
        self.app_version = (
            f"<code_sign_key>\n{key.public}</code_sign_key>\n"
            f"<app><name>{folder.parent.parent.name}</name><user_friendly_name>x</user_friendly_name></app>\n"
            + self._file_info(program, f"<executable/><file_signature>\n{signature}</file_signature>\n")
            + f"<app_version><app_name>{folder.parent.parent.name}</app_name><version_num>{100 * major + minor}</version_num>"
            f"<platform>{folder.name}</platform><avg_ncpus>1</avg_ncpus><flops>1e9</flops>"
            f"<api_version>{described.findtext('api_version')}</api_version>"
            f"<file_ref><file_name>{program}</file_name><main_program/></file_ref></app_version>\n"
        )

    def send(self, job: str, inputs: Mapping[str, tuple[str, bytes]]) -> None:
        """Have a job wait for a client. `inputs`: logical name -> physical name and bytes; all but the unit are kept by the client."""
        self.files.update(inputs.values())
        refs = "".join(
            f"<file_ref><file_name>{physical}</file_name><open_name>{logical}</open_name></file_ref>\n"
            for logical, (physical, _) in inputs.items()
        )
        self.waiting.append(
            "".join(
                self._file_info(physical, "" if logical == "unit.zip" else "<sticky/>")
                for logical, (physical, _) in inputs.items()
            )
            + f"<workunit><name>{job}</name><app_name>xtalgrid</app_name>\n{refs}"
            "<rsc_fpops_est>1e11</rsc_fpops_est><rsc_fpops_bound>1e15</rsc_fpops_bound>"
            "<rsc_memory_bound>4e8</rsc_memory_bound><rsc_disk_bound>1e9</rsc_disk_bound></workunit>\n"
            f"<file_info><name>{job}_0_r1_0</name><generated_locally/><upload_when_present/><max_nbytes>1e7</max_nbytes>"
            f"<upload_url>{self.url}upload</upload_url></file_info>\n"
            f"<result><name>{job}_0</name><wu_name>{job}</wu_name><report_deadline>{time.time() + 86400:.0f}</report_deadline>\n"
            f"<file_ref><file_name>{job}_0_r1_0</file_name><open_name>result.json</open_name></file_ref></result>\n"
        )

    def _file_info(self, name: str, kind: str = "") -> str:
        data = self.files[name]
        digest = hashlib.md5(data).hexdigest()
        return (
            f"<file_info><name>{name}</name>{kind}<url>{self.url}download/{name}</url>"
            f"<md5_cksum>{digest}</md5_cksum><nbytes>{len(data)}</nbytes></file_info>\n"
        )

    def schedule(self, request: str) -> str:
        """The scheduler: takes reports, gives all work there is."""
        acknowledged = ""
        for result in re.findall(r"<result>(.*?)</result>", request, re.DOTALL):
            name = _text(result, "name")
            self.reports[name.removesuffix("_0")] = Report(
                int(_text(result, "exit_status")),
                float(_text(result, "final_cpu_time")),
                _text(result, "stderr_out"),
            )
            acknowledged += f"<result_ack><name>{name}</name></result_ack>\n"
        work, self.waiting[:] = "".join(self.waiting), []
        return (
            f"<scheduler_reply>\n<scheduler_version>708</scheduler_version>\n<master_url>{self.url}</master_url>\n"
            "<project_name>lab</project_name>\n<hostid>1</hostid>\n<userid>1</userid>\n<request_delay>1</request_delay>\n"
            f"{acknowledged}{self.app_version}{work}</scheduler_reply>\n"
        )

    def upload(self, request: bytes) -> str:
        """file_upload_handler: takes a file's bytes, which follow the request."""
        head, found, data = request.partition(b"<data>\n")
        if found:  # else it is asked how much of the file is here
            name = _text(head.decode(), "name")
            self.uploads[name.removesuffix("_0_r1_0")] = data[: int(float(_text(head.decode(), "nbytes")))]
        return "<data_server_reply>\n<status>0</status>\n<file_size>0</file_size>\n</data_server_reply>\n"


def _text(xml: str, tag: str) -> str:
    found = re.search(rf"<{tag}>(.*?)</{tag}>", xml, re.DOTALL)
    return found[1].strip() if found else ""


def _handler(project: Project) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.rpartition("/download/")[2]
            if self.path == "/lab/":
                self._answer(f"<!-- <scheduler>{project.url}scheduler</scheduler> -->\n".encode())
            elif name in project.files:
                project.downloads[name] += 1
                self._answer(project.files[name])
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/lab/scheduler":
                self._answer(project.schedule(body.decode(errors="replace")).encode())
            else:
                self._answer(project.upload(body).encode())

        def _answer(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler

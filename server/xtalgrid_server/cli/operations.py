"""Commands for whoever runs the server: `init`, `check-imager`, `status`, `serve`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import click
import msgspec

from xtalgrid_core.command_group import say
from xtalgrid_core.errors import ConfigError, XtalgridError
from xtalgrid_core.files import STANDARD_OUTPUT

from .. import config as configuration
from ..config import Config
from ..domain.log import write_few_of_a_kind
from ..imager.crystaltrak.check import check_imager
from ..imager.crystaltrak.finding import statements
from ..imager.ispyb.check import check_ispyb
from ..reports.status import status as pipeline_status
from ..reports.status import status_lines
from ..steps.system import System
from .options import with_config
from .printing import json_option, print_found, print_json, print_lines, print_script
from .viewer import announce, browser, host_option, port_option


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path(configuration.FILE_NAME))
def init(file: Path) -> None:
    """Write a configuration FILE to start from (default: xtalgrid.toml in this folder; - is standard output)."""
    example = (Path(configuration.__file__).parent / "example.toml").read_text(encoding="utf-8")
    if file == STANDARD_OUTPUT:
        print_script(example)
        return
    try:
        with file.open("x", encoding="utf-8") as stream, _removed_if_it_fails(file):
            stream.write(example)
            stream.flush()
    except FileExistsError as error:
        raise ConfigError(
            f"{file} already exists and was not changed; give another FILE, or remove it first"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot write {file}: {error.strerror}; give another folder, or fix this, and run it again"
        ) from error
    say(f"{file} written; it explains every key")


@contextmanager
def _removed_if_it_fails(file: Path) -> Iterator[None]:
    """Remove a file that was just made if what is written to it does not get there: half of one would be used."""
    try:
        yield
    except OSError:
        file.unlink(missing_ok=True)
        raise


@click.command("check-imager")
@json_option
@with_config
def check_imager_command(config: Config, as_json: bool) -> None:
    """Try what production does with the imager database, and undo it: read, write, and what is in the way.

    Exits with 2 if there is a PROBLEM.
    """
    at_once = msgspec.structs.replace(
        config, imager=msgspec.structs.replace(config.imager, retry_s=0.0)
    )  # a person is waiting
    with System(at_once) as system:
        findings = [*check_imager(config, system.imager), *check_ispyb(at_once)]
    if as_json:
        print_json(findings)
    else:
        print_lines(f"{finding.label:<7}  {finding.text}" for finding in findings)
        if for_dba := statements(findings):
            print_lines(["", "For the database's administrator:", *(f"    {statement}" for statement in for_dba)])
    if not all(finding.is_good for finding in findings):
        raise ConfigError(
            "the imager database does not match the configuration; see above and docs/imager-databases.md"
        )


@click.command()
@json_option
@with_config
def status(config: Config, as_json: bool) -> None:
    """Show the state of the pipeline and what needs a person."""
    with System(config) as system:
        state = pipeline_status(config, system.ledger, system.imager)
    lines = [*status_lines(state)]
    if not state.account.there:
        lines.append(f"home        {config.home} has no images yet; --config or --home names another")
    print_found(state, lines, as_json)


@click.command()
@host_option
@port_option
@click.option("--open", "with_browser", is_flag=True, help="Open it in a browser, signed in.")
@with_config
def serve(config: Config, host: str | None, port: int | None, with_browser: bool) -> None:
    """Show plates and wells in a browser."""
    from ..web.app import create_app
    from ..web.connections import viewer_server

    write_few_of_a_kind()
    host, port = host or config.viewer.host, port or config.viewer.port
    app = create_app(config)
    _check_port(host, port)
    address = announce(config, app.state.site.authentication, host, port)
    server = viewer_server(app, config.viewer, host, port)
    with browser(config.home, host, port, address) if with_browser else nullcontext(), suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise XtalgridError("the viewer did not start; the log says why")


def _check_port(host: str, port: int) -> None:
    """Check that the address is free by binding it; uvicorn's own message would be an error number."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except (OSError, UnicodeError, TypeError) as error:  # the last two for what can be no host name
        why = error.strerror if isinstance(error, OSError) else "no host has this name"
        raise ConfigError(
            f"viewer.host, viewer.port: cannot listen on {host}:{port} ({why}); "
            "if another viewer is running there, stop it or use another --port"
        ) from error

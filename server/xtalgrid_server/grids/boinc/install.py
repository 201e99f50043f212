"""``xtalgrid boinc install``: set up a BOINC project for our work; it can be run again at any time.

Only what is missing or different is written, and each change is reported. The project's other applications stay as they
are.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.lines import toml_text

from ...config import Config
from .project import Project
from .templates import output_template

NAME = "Scores of protein crystallization images"

PLATFORMS = {
    "windows_x86_64": "Microsoft Windows running on an AMD x86_64 or Intel EM64T CPU",
    "x86_64-pc-linux-gnu": "Linux running on an AMD x86_64 or Intel EM64T CPU",
    "aarch64-unknown-linux-gnu": "Linux running on ARM64",
    "windows_arm64": "Microsoft Windows running on ARM64",
    "x86_64-apple-darwin": "Intel 64-bit Mac OS 10.5 or later",
    "arm64-apple-darwin": "Apple Silicon with macOS",
}
"""Platforms that workers are frozen for, with BOINC's own descriptions."""

OPTIONS = {
    "one_result_per_host_per_wu": "1",  # otherwise a host could confirm its own result
    "resend_lost_results": "1",
    "dont_store_success_stderr": "1",
}

STEPS = {"xtalgrid_create_work": ("create_work",), "xtalgrid_publish": ("assimilate", "finalizer", "set_autoscore")}
"""Periodic tasks, and the steps of the chain that each runs."""

PERIOD = "4 min"
"""Of the crontab's 5: with "5 min", a `bin/start --cron` that comes a second early would pass the tasks over."""

Accounts = Literal["open", "closed"]
_ACCOUNTS = "disable_account_creation"

HOOKS = ("check", "compare", "assimilate")
VERDICTS = ("check", "compare")
"""Hooks whose exit code 1 is a verdict on a host's result."""

_VERDICT = """# Python ends with 1 too if it cannot start, as amid an upgrade: that is no verdict, and BOINC asks again.
export XTALGRID_INVALID=21
{python} -m xtalgrid_server.cli.boinc_hooks {hook} "$@"
case $? in
0) exit 0 ;;
21) exit 1 ;;
*) exit 3 ;;
esac
"""


def install(config: Config, project: Project, accounts: Accounts | None = None) -> Iterator[str]:
    """Set up a project; yield a line for each change.

    `accounts` says whether strangers may create an account; None leaves that as it is.

    Raises
    ------
    ConfigError
        If a file cannot be read or written.
    """
    folder, app = project.folder, config.boinc.app
    try:
        for name, text in _scripts(config).items():
            yield from _file(folder / "bin" / name, text, executable=True)
        name = f"templates/{app}_out"
        yield from _file(folder / name, output_template(config.work, folder, name))
        if not (folder / "apps" / app).is_dir():
            (folder / "apps" / app).mkdir(parents=True)
            yield f"made     apps/{app}: app versions go here"
        yield from _edit(folder / "project.xml", lambda root: _project_xml(root, app))
        yield from _edit(folder / "config.xml", lambda root: _config_xml(root, app, accounts))
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}; run this as the owner of the BOINC project") from error


def next_steps(config: Config, project: Project, changes: Sequence[str]) -> Iterator[str]:
    """Yield what a person has to do after an installation that made these changes."""
    if config.grid.kind != "boinc" or Path(config.boinc.project).expanduser().absolute() != project.folder.absolute():
        yield (
            f'in {config.file or "xtalgrid.toml"}: [grid] kind = "boinc", '
            f"[boinc] project = {toml_text(str(project.folder.absolute()))}"
        )
    if any(line.startswith("project.xml:") for line in changes):
        yield f"in {project.folder}: bin/xadd; bin/update_versions"
    if any(line.startswith("config.xml:") and "ATTENTION" not in line and _ACCOUNTS not in line for line in changes):
        yield f"in {project.folder}: bin/stop; bin/start"


def _scripts(config: Config) -> dict[str, str]:
    """Return shell scripts for the project's bin; they set up the environment, since BOINC runs hooks in its own."""
    python = shlex.quote(sys.executable)
    set_up = f"XTALGRID_HOME={shlex.quote(str(config.home))}; export XTALGRID_HOME\n"
    if config.file is not None:
        set_up += f"XTALGRID_CONFIG={shlex.quote(str(config.file.absolute()))}; export XTALGRID_CONFIG\n"
    head = f"#!/bin/sh\n# Written by `xtalgrid boinc install`; run it again rather than change this.\n{set_up}"
    scripts = {f"xtalgrid_{hook}": head + _VERDICT.format(python=python, hook=hook) for hook in VERDICTS}
    scripts |= {
        f"xtalgrid_{hook}": f'{head}exec {python} -m xtalgrid_server.cli.boinc_hooks {hook} "$@"\n'
        for hook in HOOKS
        if hook not in VERDICTS
    }
    for name, steps in STEPS.items():
        # 75: the step is already running. A step that fails stops those after it.
        runs = "".join(f"{python} -m xtalgrid_server {step} || [ $? -eq 75 ] || exit 2\n" for step in steps)
        scripts[name] = head + runs
    return scripts


def _project_xml(root: ET.Element, app: str) -> Iterator[str]:
    known = {element.findtext("name", "").strip() for element in root.findall("platform")}
    for name, words in PLATFORMS.items():
        if name not in known:
            _add(root, "platform", {"name": name, "user_friendly_name": words})
            yield f"platform {name}"
    if app not in {element.findtext("name", "").strip() for element in root.findall("app")}:
        _add(root, "app", {"name": app, "user_friendly_name": NAME})
        yield f"app      {app}"


def _config_xml(root: ET.Element, app: str, accounts: Accounts | None) -> Iterator[str]:
    options = _child(root, "config")
    if accounts is not None:
        yield from _account_creation(options, accounts)
    if any("antique_file_deleter" in (e.findtext("cmd") or "") for e in root.iter("task")):
        yield from _web_user(options)
    for name, value in OPTIONS.items():
        option = options.find(name)
        if option is None:
            _add(options, name, value)
            yield f"option   {name} {value}"
        elif (option.text or "1").strip() != value:
            yield f"ATTENTION option {name} is {option.text}, and should be {value}: see docs/boinc.md"
    daemons, tasks = _child(root, "daemons"), _child(root, "tasks")
    for command in (
        f"script_validator -d 2 --app {app} --init_script xtalgrid_check --compare_script xtalgrid_compare",
        f"script_assimilator -d 2 --app {app} --script xtalgrid_assimilate",
    ):
        program = command.split()[0]
        ours = f"{program}_{app}"
        yield from _entry(
            daemons, "daemon", command, {"output": f"{ours}.log", "pid_file": f"{ours}.pid"}, key=f"--app {app} "
        )
    if not any((e.findtext("cmd") or "").split()[:1] == ["db_purge"] for e in daemons.findall("daemon")):
        yield from _entry(
            daemons, "daemon", "db_purge -d 2 --min_age_days 14 --no_archive", {}
        )  # otherwise the tables grow forever
    for name in STEPS:
        yield from _entry(tasks, "task", name, {"period": PERIOD, "output": f"{name}.out"})


def _account_creation(options: ET.Element, accounts: Accounts) -> Iterator[str]:
    value = "1" if accounts == "closed" else "0"
    switch = options.find(_ACCOUNTS)
    if switch is None:
        switch = _add(options, _ACCOUNTS, "")
    if switch.text != value:
        switch.text = value
        yield f"option   {_ACCOUNTS} {value}"


def _web_user(options: ET.Element) -> Iterator[str]:
    """Name the web server's user, whose old files antique_file_deleter deletes; without it, it takes "apache"."""
    if sys.platform == "win32" or options.find("httpd_user") is not None:
        return
    import pwd  # not available on Windows

    if "www-data" in {user.pw_name for user in pwd.getpwall()}:
        _add(options, "httpd_user", "www-data")
        yield "option   httpd_user www-data"


def _entry(parent: ET.Element, tag: str, command: str, more: dict[str, str], key: str = "") -> Iterator[str]:
    """Add a daemon or task unless there is one of this program (and `key`); update its command if it differs."""
    program = command.split()[0]
    for element in parent.findall(tag):
        present = (element.findtext("cmd") or "").strip()
        if present.split()[:1] == [program] and key in f"{present} ":
            if present != command:
                cmd = element.find("cmd")
                assert cmd is not None
                cmd.text = command
                yield f"changed  {tag} {command} (it was: {present})"
            return
    _add(parent, tag, {"cmd": command, **more})
    yield f"{tag:<8} {command}"


def _child(root: ET.Element, tag: str) -> ET.Element:
    child = root.find(tag)
    return _add(root, tag, "") if child is None else child


def _add(parent: ET.Element, tag: str, content: str | dict[str, str]) -> ET.Element:
    element = ET.SubElement(parent, tag)
    if isinstance(content, str):
        element.text = content
    else:
        for name, text in content.items():
            ET.SubElement(element, name).text = text
        ET.indent(element, level=2)
    element.tail = "\n"
    return element


def _edit(path: Path, change: Callable[[ET.Element], Iterator[str]]) -> Iterator[str]:
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))  # noqa: S314
    try:
        tree = ET.parse(path, parser)  # noqa: S314
    except ET.ParseError as error:
        raise ConfigError(f"{path} is not XML ({error}); it was not changed") from error
    lines = list(change(tree.getroot()))
    changes = [line for line in lines if not line.startswith("ATTENTION")]
    if changes:
        backup = path.with_name(f"{path.name}.before-xtalgrid")
        if not backup.exists():
            shutil.copy2(path, backup)
        mode = path.stat().st_mode & 0o777  # it holds the database's password
        text = ET.tostring(tree.getroot(), encoding="unicode").replace(
            " />", "/>"
        )  # BOINC's parser accepts no space here
        write_atomically(path, text.encode() + b"\n")
        path.chmod(mode)
    for line in lines:
        yield f"{path.name}: {line}"


def _file(path: Path, text: str, *, executable: bool = False) -> Iterator[str]:
    mode = 0o755 if executable else 0o644
    if path.is_file() and path.read_text(encoding="utf-8") == text and path.stat().st_mode & 0o777 == mode:
        return
    verb = "changed" if path.exists() else "wrote"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    path.chmod(mode)
    yield f"{verb:<8} {path.parent.name}/{path.name}"

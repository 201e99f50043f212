"""Shell completion, as docs/reference/commands.md describes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing

PROGRAMS = ("xtalgrid", "xtalgrid-worker", "xtalgrid-train")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="bash is Unix's")


def complete(program: str, instruction: str, **more: str) -> str:
    """What a program answers when the shell asks it for completions."""
    if shutil.which("bash") is None:
        missing("bash is not installed")
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    environment = os.environ | {variable: instruction} | more
    done = subprocess.run(
        [Path(sys.executable).with_name(program)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_bash_takes_what_a_program_prints(program):
    script = complete(program, "bash_source")
    assert f"complete -o nosort -F _{program.replace('-', '_')}_completion {program}" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


@pytest.mark.parametrize(
    ("program", "typed", "offered"),
    [("xtalgrid", "serv", {"serve", "service"}), ("xtalgrid-worker", "self", {"selfcheck"})],
)
def test_commands_are_completed(program, typed, offered):
    answer = complete(program, "bash_complete", COMP_WORDS=f"{program} {typed}", COMP_CWORD="1")
    assert {line.partition(",")[2] for line in answer.splitlines()} == offered

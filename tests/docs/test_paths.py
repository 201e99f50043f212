"""Every file or folder of the repository that a page, a program or a workflow names is there."""

import re

from .pages import PAGES, ROOT

PLACES = ("scripts", "tests", "docs", "docker", "models", "server", "worker")
FILES = [
    *PAGES,
    *(ROOT / name for name in ("Makefile", "mkdocs.yml", "docker/Dockerfile", "worker/xtalgrid-worker.spec")),
    *(ROOT / ".github").rglob("*.yml"),
    *(file for place in PLACES for file in (ROOT / place).rglob("*.py") if file.parent != ROOT / "tests" / "docs"),
    *(file for file in (ROOT / "scripts").rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc", ".md")),
]
PATH = re.compile(rf"(?<![\w./$}}-])(?:\.\./)*((?:{'|'.join(PLACES)})/[\w./*-]*[\w*])")
MODULE = re.compile(r"python -m (tests(?:\.\w+)+)")


def named(text: str) -> set[str]:
    """Return the paths that a text names, modules of `python -m` among them; without those with a placeholder NAME."""
    modules = {f"{module.replace('.', '/')}.py" for module in MODULE.findall(text)}
    return {path for path in modules | set(PATH.findall(text)) if "NAME" not in path}


def test_paths_are_found_in_prose_code_and_commands():
    text = "`scripts/gone.py`, ../tests/x/ and src/docs/y; python -m tests.rig.gone --help; scripts/*.py, docs/NAME.md"
    assert named(text) == {"scripts/gone.py", "tests/x", "tests/rig/gone.py", "scripts/*.py"}


def test_named_paths_are_there():
    names = {file: named(file.read_text(encoding="utf-8")) for file in FILES}
    dead = {file: {path for path in paths if not any(ROOT.glob(path))} for file, paths in names.items()}
    assert not {file.relative_to(ROOT).as_posix(): paths for file, paths in dead.items() if paths}
    assert len(names) > 400

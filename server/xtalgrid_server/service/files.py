"""Files that an installation owns. Their first line marks them, so that no other file is ever taken for ours."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from xtalgrid_core.files import write_atomically

from ..storage.permissions import SHARED_FILE

MARK = "# Written by `xtalgrid service install`; run it again rather than change this."


def put(path: Path, text: str) -> Iterator[str]:
    """Write a file unless it already has this text; yield a line for each change.

    A file that somebody else wrote there is first copied to ``NAME.before-xtalgrid``.
    """
    old = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    if old == text:
        return
    if old is not None and not is_ours(path):
        backup = path.with_name(f"{path.name}.before-xtalgrid")  # a suffix that systemd and cron ignore
        shutil.copy2(path, backup)
        yield f"kept     {backup}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    path.chmod(SHARED_FILE)
    yield f"{'wrote' if old is None else 'changed':<8} {path}"


def is_ours(path: Path) -> bool:
    """Return whether an installation wrote the file."""
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith(MARK)

"""Wells scored by the real worker, as a program of its own: what is judged is what a lab gets.

Answers are kept under a name made of everything they depend on (images, options, weights, the program's own files), so that a
killed evaluation goes on where it was, and a changed program or model is never judged by old answers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tqdm import tqdm

from xtalgrid_core import wire
from xtalgrid_core.decision import CRYSTAL_FROM, RULE, SUPPORT, THRESHOLD, Rule
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.weights import MANIFEST, PACKAGED, Variant

_WORKER = (sys.executable, "-c", "from xtalgrid_worker.cli import main; main()")
_NOTHING_SCORED = 1  # the worker's exit status when every image failed; the result is there all the same

CHUNK = 150
"""Wells a worker is given at once: a plate."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How wells are scored: the options of ``xtalgrid-worker score``.

    `weights` is a folder, None for the packaged ones; `variant` (fp32, int8) of its default weights, None for the default itself.
    """

    threshold: float = THRESHOLD
    rule: Rule = RULE
    support: float = SUPPORT
    crystal_from: float = CRYSTAL_FROM
    exact: bool = False
    variant: Variant | None = None
    weights: Path | None = None

    @property
    def name(self) -> str:
        """What tells runs of one rule apart: the threshold, or the p_crystal from which wells are crystals."""
        return f"p_crystal {self.crystal_from:g}" if self.rule == "pooled" else f"{self.threshold:g}"

    def arguments(self) -> list[str]:
        """On the worker's command line, but for the weights' folder."""
        words = ["--rule", self.rule]
        if self.rule == "pooled":
            words += ["--crystal-from", str(self.crystal_from)]
        else:
            words += ["--threshold", str(self.threshold), "--support", str(self.support)]
        words += ["--exact"] if self.exact else []
        return words + (["--variant", self.variant] if self.variant else [])


def score(
    paths: Sequence[Path], settings: Settings, keep: Path, jobs: int = 1, show: bool = True
) -> dict[Path, wire.Image]:
    """Score images with the worker program; all of them are answered, scored or failed.

    Parameters
    ----------
    paths
        Image files; a chunk of `CHUNK` is one run of the worker.
    settings
        How.
    keep
        Folder where answers are kept from run to run.
    jobs
        Workers side by side, each on one core.
    show
        Whether a progress bar goes to standard error, where that is a terminal.

    Raises
    ------
    ConfigError
        When an image's file is missing.
    RuntimeError
        When a worker ends with an error; quotes what it said.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ConfigError(f"{missing[0]}: not there, nor {len(missing) - 1} others of the wells to judge")
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    answers: dict[Path, wire.Image] = {}
    with (
        ThreadPoolExecutor(jobs) as pool,
        tqdm(total=len(paths), unit="well", disable=not (show and sys.stderr.isatty())) as bar,
    ):
        runs = [pool.submit(_chunk, chunk, settings, keep) for chunk in chunks]
        try:
            for chunk, run in zip(chunks, runs, strict=True):
                answers.update(zip(chunk, run.result(), strict=True))
                bar.update(len(chunk))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return answers


def worker_version() -> str:
    """What the worker says of itself."""
    done = subprocess.run([*_WORKER, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def _chunk(paths: Sequence[Path], settings: Settings, keep: Path) -> tuple[wire.Image, ...]:
    out = keep / _name(paths, settings)
    result = out / "result.json"
    if not result.is_file():
        out.mkdir(parents=True, exist_ok=True)
        command = [*_WORKER, "score", *map(str, paths), "--out", str(out), "--threads", "1", *settings.arguments()]
        command += ["--weights", str(settings.weights)] if settings.weights else []
        single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **single})
        if done.returncode not in (0, _NOTHING_SCORED):
            raise RuntimeError(f"xtalgrid-worker ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return wire.decode_result(result.read_bytes()).images


def _name(paths: Sequence[Path], settings: Settings) -> str:
    told = {
        "images": [_sha256(path.read_bytes()) for path in paths],
        "arguments": settings.arguments(),
        "weights": _sha256(((settings.weights or PACKAGED) / MANIFEST).read_bytes()),
        "program": _program(),
    }
    return _sha256(json.dumps(told).encode())[:16]


@cache
def _program() -> str:
    """A fingerprint of the worker's and the core's Python files; found without importing the worker."""
    digest = hashlib.sha256()
    for package in ("xtalgrid_core", "xtalgrid_scoring", "xtalgrid_worker"):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigError(f"{package} is not installed here; pip install xtalgrid")
        for path in sorted(Path(spec.origin).parent.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

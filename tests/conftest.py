"""What several tests need: the small networks, small images, and the real images where they are."""

from __future__ import annotations

import gc
import hashlib
import io
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.weights import default_models
from xtalgrid_scoring.networks import Networks

from .tiny_networks import FEW_CHOPS as FEW_CHOPS
from .tiny_networks import write_tiny_second_opinion, write_tiny_weights

CHOP_BY_CHOP: dict[str, Any] = {"rule": "group", "mode": "exact", "step": 50}
"""Options with which the small networks' answers are easy to predict; also the defaults of old manifests."""

RED, GREEN, BLUE = (150, 40, 40), (40, 120, 40), (40, 40, 140)

LONGEST = (
    "tests/system/test_boinc_client.py",
    "tests/rig/test_fault_sweep.py",
    "tests/system/test_scripts.py",
    "tests/system/test_oracle_stand_in.py",
    "tests/system/test_viewer_proxies.py",
    "tests/nets/test_adapt.py",
    "tests/server/web/test_threat_model.py",
    "tests/system/test_run.py",
    "tests/docs/test_examples.py",
    "tests/nets/test_explain.py",
    "tests/system/test_database_dies.py",
    "tests/server/web/test_sign_in.py",
    "tests/server/test_permissions.py",
    "tests/rig/test_soak.py",
    "tests/server/web/test_visibility.py",
    "tests/system/test_every_door.py",
    "tests/system/compat/test_services.py",
    "tests/worker/test_frozen.py",
    "tests/system/test_typing.py",
    "tests/server/test_killed.py",
    "tests/rig/test_many_pictures.py",
    "tests/scoring/test_pool.py",
    "tests/system/test_viewer_browser.py",
    "tests/server/boinc/test_whole_way.py",
    "tests/server/test_models.py",
    "tests/docs/test_notebook.py",
    "tests/nets/test_quantize.py",
    "tests/nets/test_fit.py",
    "tests/nets/marco/test_judging.py",
)
"""The files of tests that take longest, the longest first."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while modules are imported, and never look through them again.

    All of them stay, and each test process spent two fifths of this time on finding that out.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: one that begins last keeps a single process busy at the end of `make test`."""
    places = {Path(__file__).parents[1] / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


settings.register_profile("xtalgrid", deadline=None)  # a busy machine is no failure
settings.load_profile("xtalgrid")


def missing(what: str) -> NoReturn:
    """Skip a test for want of an outside program, or fail it where all of them are required; `what` is the message."""
    if os.environ.get("XTALGRID_REQUIRE_ALL") == "1":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and papers, which is no part of the repository."""
    folder = Path(os.environ.get("XTALGRID_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "real").is_dir():
        pytest.skip(f"no real images in {folder}; set XTALGRID_SHARED")
    return folder


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of small networks that `write_tiny_weights` describes."""
    pytest.importorskip("onnx", reason="the small test networks are made with onnx (extra dev)")
    return write_tiny_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def tiny_second_opinion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small second opinion that `write_tiny_second_opinion` describes."""
    pytest.importorskip("onnx", reason="the small test networks are made with onnx (extra dev)")
    folder = tmp_path_factory.mktemp("second-opinion")
    write_tiny_second_opinion(folder)
    return folder


def encoded(image: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """An image's file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def well(colour: tuple[int, int, int] | None = (150, 40, 40), height: int = 480, width: int = 640) -> np.ndarray:
    """A white well, a little darker to the left, with a round drop of one colour in the middle; None for no drop."""
    image = np.full((height, width, 3), 220, np.uint8)
    image[:, : width // 20] = 210
    if colour is not None:
        row, col = np.ogrid[:height, :width]
        image[(row - height / 2) ** 2 + (col - width / 2) ** 2 < (height / 3) ** 2] = colour
    return image


def entry(number: int, data: bytes, pixel_size_um: float | None = 1.13) -> wire.ImageEntry:
    """A work unit's entry for an image's bytes."""
    return wire.ImageEntry(
        number=number,
        file=f"{number:03d}.png",
        inspect_id=1000 + number,
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_size_um=pixel_size_um,
    )


def scoring_processes(parent: int | None = None) -> set[int]:
    """Ids of a pool's processes: the children of a process, by default of this one, that have not ended. Linux."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, about = (path / "cmdline").read_bytes(), (path / "stat").read_text()
        except OSError:
            continue
        state, its_parent = about.rpartition(")")[2].split()[:2]
        if b"xtalgrid_scoring.child" in command and state != "Z" and int(its_parent) == (parent or os.getpid()):
            found.add(int(path.name))
    return found


@pytest.fixture(scope="session")
def options(tiny_weights: Path) -> wire.Options:
    segmenter, classifier = default_models(tiny_weights)
    return wire.Options(segmenter=segmenter, classifier=classifier, **CHOP_BY_CHOP)


@pytest.fixture(scope="session")
def networks(options: wire.Options, tiny_weights: Path) -> Networks:
    return Networks.load(options, [tiny_weights])


@pytest.fixture(scope="session")
def crystal() -> bytes:
    return encoded(well(RED))


@pytest.fixture(scope="session")
def clear() -> bytes:
    return encoded(well(BLUE))

"""Folders and an imager database over several rounds: the account adds up, and each content is scored exactly once."""

from __future__ import annotations

import collections
import hashlib
import io
import os
import shutil
import tempfile
import time
import zipfile
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.reports.status import status, status_lines
from xtalgrid_server.steps.account import account
from xtalgrid_server.steps.system import System

from .conftest import INSPECTED, answer, result_of

SUFFIXES = ("png", "bmp", "jpg")
TOML = """
[imager]
{folder}
[import]
names = 'P_(?P<row>[A-H])(?P<column>\\d+)'
settle_s = 0
"""


def picture(number: int, suffix: str) -> bytes:
    """A small picture; other numbers are other bytes."""
    pixels = Image.effect_noise((96, 80), 60)
    pixels.putpixel((0, 0), number)
    pixels.paste(number % 200 + 20, (20, 20, 60, 60))
    stream = io.BytesIO()
    pixels.save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
    return stream.getvalue()


PICTURES = {(number, suffix): picture(number, suffix) for number in range(3) for suffix in SUFFIXES}


class Lab:
    """A lab with one door for its images, and what it should find, kept without the product's code."""

    def __init__(self, place: Path, door: str) -> None:
        self.folder = place / "share"
        self.folder.mkdir(parents=True)
        watched = f'folder = "{self.folder}"' if door == "watched" else ""
        self.system = System(from_string(TOML.format(folder=watched), home=place / "home"))
        self.door = door
        self.now: dict[str, str] = {}
        self.wanted: set[tuple[str, str]] = set()
        self.scored: collections.Counter[tuple[str, str]] = collections.Counter()
        self._wells: dict[int, str] = {}

    def path(self, name: str) -> Path:
        if self.door != "database":
            return self.folder / name
        return self.system.config.image_root / "P" / "1" / name

    def put(self, name: str, kind: str, data: bytes, seconds: float | None) -> None:
        """Write a file as `kind`, with a time so many seconds ago, or its natural one."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if seconds is not None:
            os.utime(path, (time.time() - seconds,) * 2)
        if self.door == "database" and name not in self.now:
            well = Well(1, len(self.now) + 1, 1)
            self.system.imager.register([ImageRow(0, "P", 1, INSPECTED, well, name)])
        self.now[name] = kind

    def round(self) -> None:
        """Import, plan, score and record, as `run` or a day's services do."""
        if self.door == "run":
            self.system.import_folder(self.folder, recursive=True)
        self.system.create_work(retry=self.door == "run")
        for name in self.system.grid.waiting():
            with zipfile.ZipFile(self.system.config.spool / "units" / name / "unit.zip") as archive:
                manifest = wire.decode_manifest(archive.read("manifest.json"))
                contents = [hashlib.sha256(archive.read(entry.file)).hexdigest() for entry in manifest.images]
            unit = self.system.ledger.units.named(name)
            images = self.system.ledger.units.images(unit)
            self.scored.update(
                (image.image_name, content) for image, content in zip(images, contents, strict=True)
            )
            answers = [answer(number, Outcome.CLEAR) for number in range(len(images))]
            self.system.ledger.scores.accept_result(unit, "f" * 64, result_of(manifest, answers), manifest.options)
            self.system.grid.discard(name)

    def check(self) -> None:
        self.wanted |= {
            (name, hashlib.sha256(self.path(name).read_bytes()).hexdigest())
            for name, kind in self.now.items()
            if kind == "whole"
        }
        assert self.scored == collections.Counter(self.wanted)
        kinds = collections.Counter(self.now.values())
        found = account(self.system.config, self.system.ledger, self.system.imager)
        counted = (found.there, found.scored, found.waiting, found.failed, sum(found.passed_over.values()))
        assert counted == (len(self.now), kinds["whole"], kinds["growing"], kinds["broken"], kinds["foreign"])
        newest = self.system.ledger.images.of_plate("P" if self.door == "database" else "share")
        assert len(newest) >= kinds["whole"]
        for image in newest:
            if self.now[image.image_name] == "whole":
                assert image.sha256 == hashlib.sha256(self.path(image.image_name).read_bytes()).hexdigest()



WELLS = st.sampled_from([(1, "png"), (2, "bmp"), (3, "jpg")])
AGES = st.sampled_from([None, 10.0, 500.0, 3600.0])
DEEDS = st.one_of(
    st.tuples(st.just("whole"), WELLS, st.integers(0, 2), AGES),
    st.tuples(st.just("growing"), WELLS, st.integers(0, 2), AGES),
    st.tuples(st.just("broken"), WELLS, st.integers(0, 2), AGES),
    st.tuples(st.just("touch"), WELLS, st.just(0), AGES),
    st.tuples(st.just("foreign"), st.tuples(st.integers(1, 3), st.sampled_from(["txt", "czi", "db"])), st.just(0), AGES),
)


@pytest.mark.parametrize("door", ["run", "watched", "database"])
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@example(
    rounds=[
        [("whole", (1, "png"), 0, 3600.0), ("whole", (2, "bmp"), 0, None), ("foreign", (1, "czi"), 0, None)],
        [("whole", (1, "png"), 1, 500.0), ("growing", (2, "bmp"), 1, 10.0), ("touch", (1, "png"), 0, 9.0)],
        [("whole", (1, "png"), 0, 10.0), ("whole", (2, "bmp"), 1, 10.0), ("growing", (3, "jpg"), 2, None)],
        [("broken", (1, "png"), 1, 10.0), ("whole", (3, "jpg"), 2, None), ("touch", (2, "bmp"), 0, 500.0)],
        [("whole", (1, "png"), 1, 10.0), ("whole", (1, "png"), 1, 500.0)],
    ]
)
@given(rounds=st.lists(st.lists(DEEDS, min_size=2, max_size=6), min_size=3, max_size=4))
def test_over_several_rounds_the_account_adds_up_and_each_content_is_scored_once(door, rounds):
    place = Path(tempfile.mkdtemp())
    lab = Lab(place, door)
    try:
        for deeds in rounds:
            for deed, (column, suffix), number, age in deeds:
                name = f"P_A{column}.{suffix}"
                if deed == "touch":
                    if name in lab.now:
                        os.utime(lab.path(name), (time.time() - (age or 0),) * 2)
                elif deed == "foreign":
                    if door != "database":
                        lab.put(name, "foreign", b"notes", age)
                else:
                    data = PICTURES[number, suffix]
                    data = {"whole": data, "growing": data[: len(data) * 2 // 3], "broken": b"no image" * 9}[deed]
                    lab.put(name, deed, data, age)
            lab.round()
            lab.check()
    finally:
        lab.system.__exit__(None, None, None)
        shutil.rmtree(place)

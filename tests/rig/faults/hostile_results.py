"""Results that no honest worker sends, made from honest ones.

Each kind is a function of an honest result, random numbers and the unit.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtalgrid_core import wire
from xtalgrid_core.outcomes import STYLES, Outcome

from . import honest

Json = dict[str, Any]
MARKUP = ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td><b>", "a > b")
CONTROLS = ("\0", "\x1b[2J", "\x07", "line\nline", "\r", "\x7f", "\x9b31m", "\u2028", "\u202egpj.exe", "\u2066")
PATHS = ("../../../etc/passwd", "/etc/passwd", "..\\..\\x", "C:\\x", "a/b", ".", "..", "xg_1/../xg_2", "%2e%2e%2f")


@dataclass(frozen=True, slots=True)
class Case:
    """A hostile result: `write` makes its file; `must_refuse` if no honest worker could have sent it."""

    kind: str
    write: Callable[[Path], None]
    must_refuse: bool = True


def hostile_result(asked: wire.Manifest, rng: random.Random) -> Case:
    """Make a hostile result of a random kind for a unit; the costly kinds are rare."""
    costly = rng.random() < 0.01
    kind = rng.choice(list(_LARGE if costly else _SMALL))
    if costly:
        return Case(kind, _LARGE[kind](rng))
    truth = json.loads(wire.encode(honest.result(asked, rng)))
    return _SMALL[kind](kind, truth, asked, rng)


def _lie(change: Callable[[Json, wire.Manifest, random.Random], Any], must_refuse: bool = True) -> Any:
    """Define a kind that changes the decoded result in place, or returns another."""

    def make(kind: str, truth: Json, asked: wire.Manifest, rng: random.Random) -> Case:
        changed = change(truth, asked, rng)
        data = json.dumps(truth if changed is None else changed).encode(errors="surrogatepass")
        return Case(kind, lambda path: _put(path, data), must_refuse)

    return make


def _bytes(change: Callable[[bytes, random.Random], bytes], must_refuse: bool) -> Any:
    """Define a kind that changes the bytes; without `must_refuse`, a change that does no harm may pass."""

    def make(kind: str, truth: Json, asked: wire.Manifest, rng: random.Random) -> Case:
        data = change(json.dumps(truth).encode(), rng)
        return Case(kind, lambda path: _put(path, data), must_refuse)

    return make


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _set(*path: str | int, value: Callable[[random.Random], Any]) -> Any:
    def change(truth: Json, asked: wire.Manifest, rng: random.Random) -> None:
        at: Any = truth
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value(rng)

    return _lie(change)


def _scored(truth: Json, rng: random.Random) -> Json:
    """Return a scored answer that has chops; make one if there is none."""
    scored = [image for image in truth["images"] if image["status"] == "scored" and image["probabilities"]]
    if scored:
        return rng.choice(scored)
    while True:
        asked = honest.manifest(truth["unit"], "group", [(0, "c" * 64)])
        image = json.loads(wire.encode(honest.result(asked, rng)))["images"][0]
        if image["status"] == "scored" and image["probabilities"]:
            image["number"] = 0
            truth["images"][0] = image
            return image


def _in_scored(change: Callable[[Json, random.Random], Any]) -> Any:
    return _lie(lambda truth, asked, rng: change(_scored(truth, rng), rng) and None)


def _numbers(image: Json, rng: random.Random) -> None:
    """Set a probability to something that is not one."""
    bad = rng.choice((math.nan, math.inf, -math.inf, -0.01, 1.01, 1e308, "0.5", None, [], True, 10**400))
    where = rng.choice(("probability", "p_crystal", "probabilities", "drop"))
    if where == "probabilities":
        image[where][rng.randrange(13)] = bad
    elif where == "drop":
        image[where]["confidence"] = bad
    else:
        image[where] = bad


def _pixels(image: Json, rng: random.Random) -> None:
    """Put a box or an outline outside the image, or change the image's size or scale."""
    bad = [rng.choice((-1, 0, 5, 10**6, 10**30, 1.5)) for _ in range(4)]
    bad[rng.randrange(4)] = rng.choice((-1, 10**7, 1.5, None, "1"))
    match rng.randrange(5):
        case 0:
            image["drop"]["box"] = bad
        case 1:
            image["boxes"] = [{"box": bad, "outcome": "clear", "probability": 0.5}]
        case 2:
            image["drop"]["outline"] = [[rng.choice((honest.HEIGHT + 1, -3, 10**9)), 0]]
        case 3:
            image[rng.choice(("height", "width"))] = rng.choice((0, 1, 479, 641, 10**6, -480))
        case _:
            image["pixel_size_um"] = rng.choice((0, -1.13, 2.26, 1e300, math.nan, math.inf, "1.13"))


def _outcomes(image: Json, rng: random.Random) -> None:
    """Set an outcome that does not fit the rest of the answer."""
    match rng.randrange(4):
        case 0:
            image["outcome"] = rng.choice(("failed", "rim", "gold", "", "Clear", "crystals", 23, None))
        case 1:
            right = image["score"]
            image["score"] = rng.choice([n for n in (0, 1, 2, 13, 20, 23, 99, -1, 10**20) if n != right])
        case 2:
            image["probabilities"] = rng.choice(([], image["probabilities"][:-1], [0.5] * 14, [0.5] * 900))
        case _:
            image["outcome"], image["score"] = "crystals harvestable", STYLES[Outcome.HARVESTABLE].score
            image["p_crystal"], image["probability"] = 0.01, 0.99
            image["probabilities"] = [0.01] * 13


def _too_many(image: Json, rng: random.Random) -> None:
    if rng.random() < 0.5:
        box = {"box": [0, 0, 9, 9], "outcome": "clear", "probability": 0.5}
        image["boxes"] = [box] * rng.choice((6, 101, 5000))
    else:
        image["drop"]["outline"] = [[1, 1]] * rng.choice((1001, 20_000))


def _text(values: tuple[str, ...]) -> Any:
    """Put text that is unsafe on a page or a terminal into a field that takes text."""

    def change(truth: Json, asked: wire.Manifest, rng: random.Random) -> None:
        bad = "x" * rng.randrange(20) + rng.choice(values)
        where = rng.choice(("host", "worker", "detail", "origin"))
        if where == "host":
            truth["host"][rng.choice(("platform", "python", "runtime", "processor"))] = bad
        elif where == "worker":
            truth["worker"] = "9." + bad
        elif where == "detail":
            truth["images"][0] = {"status": "failed", "number": 0, "reason": "truncated image", "detail": bad}
        else:
            _scored(truth, rng)["pixel_size_origin"] = bad

    return _lie(change)


def _images(truth: Json, asked: wire.Manifest, rng: random.Random) -> None:
    """Leave out, repeat, invent or reorder images."""
    images = truth["images"]
    match rng.randrange(6):
        case 0:
            images.pop(rng.randrange(len(images)))
        case 1:
            images.insert(rng.randrange(len(images)), copy.deepcopy(rng.choice(images)))
        case 2:
            images.append({**copy.deepcopy(images[0]), "number": rng.choice((4, 77, -1, 10**12))})
        case 3:
            images[0], images[-1] = images[-1], images[0]
        case 4:
            images.clear()
        case _:
            rng.choice(images)["number"] = rng.choice((99, -1, 2**63, "0", None, 0.5))


def _missing(truth: Json, asked: wire.Manifest, rng: random.Random) -> None:
    """Leave out a field."""
    if rng.random() < 0.5:
        truth.pop(rng.choice(list(truth)))
    else:
        image = _scored(truth, rng)
        image.pop(rng.choice(list(image)))


def _types(truth: Json, asked: wire.Manifest, rng: random.Random) -> None:
    """Set a value of another type."""
    at = rng.choice((truth, _scored(truth, rng)))
    name = rng.choice([key for key in at if key not in ("seconds", "probability", "p_crystal", "pixel_size_um")])
    at[name] = rng.choice(({"a": 1}, [[[]]], 1.25, "?", True))


def _elsewhere(truth: Json, asked: wire.Manifest, rng: random.Random) -> Json:
    """Return an honest result of another unit."""
    other = honest.manifest("xg_other", rng.choice(honest.RULES), [(n, "d" * 64) for n in range(len(asked.images))])
    result: Json = json.loads(wire.encode(honest.result(other, rng)))
    return result


def _unknown(truth: Json, asked: wire.Manifest, rng: random.Random) -> None:
    """Add an unknown field, deep or hostile; readers drop it, as a newer honest worker may send one."""
    deep: Any = rng.choice((*MARKUP, *PATHS, 1e300))
    for _ in range(rng.randrange(60)):
        deep = {"x": deep} if rng.random() < 0.5 else [deep]
    rng.choice((truth, truth["host"], truth["images"][0]))["__proto__"] = deep


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Flip up to eight bits."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _spliced(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.sample(range(len(data)), 2))
    return data[:a] + data[b:] + (data[a:b] if rng.random() < 0.5 else b"")


def _junk(data: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"",
            bytes(rng.randrange(1000)),
            rng.randbytes(rng.randrange(1, 5000)),
            b"\xef\xbb\xbf" + data,
            data.decode().encode("utf-16"),
            b"null",
            b"[]",
            b'"' + data[:50],
            b"PK\3\4" + data,
            data + data,
            data + b"garbage",
        )
    )


def _nested(data: bytes, rng: random.Random) -> bytes:
    depth = rng.choice((100, 1_000, 20_000, 500_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"images":', b"}"), (b'{"x":[', b"]}")))
    return opening * depth + (closing * depth if rng.random() < 0.5 else b"")


def _deep_unknown(data: bytes, rng: random.Random) -> bytes:
    return b'{"x":' + b"[" * rng.choice((5_000, 200_000)) + data[1:]


def _twice(data: bytes, rng: random.Random) -> bytes:
    """Give a key twice, first honest and then hostile; the last one counts, so the result must be refused."""
    key = rng.choice(('"unit":"xg_other"', '"schema":99', '"images":[]', '"worker":"<b>"'))
    return data[:-1] + b"," + key.encode() + b"}"


_SMALL: dict[str, Any] = {
    "truncated": _bytes(lambda data, rng: data[: rng.randrange(len(data))], True),
    "bits flipped": _bytes(flipped, False),
    "spliced": _bytes(_spliced, False),
    "junk": _bytes(_junk, True),
    "deep nesting": _bytes(_nested, True),
    "deep nesting in an unknown field": _bytes(_deep_unknown, True),
    "a key twice": _bytes(_twice, True),
    "no probability (NaN, inf, text)": _in_scored(_numbers),
    "boxes and sizes outside": _in_scored(_pixels),
    "outcomes that do not fit": _in_scored(_outcomes),
    "too many boxes or points": _in_scored(_too_many),
    "markup": _text(MARKUP),
    "control characters": _text(CONTROLS),
    "text too long": _text(("y" * 401, "y" * 100_000)),
    "images not those of the manifest": _lie(_images),
    "a field missing": _lie(_missing),
    "a field of another type": _lie(_types, False),
    "result of another unit": _lie(_elsewhere),
    "unknown fields": _lie(_unknown, False),
    "schema": _set("schema", value=lambda rng: rng.choice((0, 2, -1, 99, "1", 1.5, None, True, 10**30))),
    "unit": _set("unit", value=lambda rng: rng.choice(("xg_other", "", "x" * 200, *PATHS, *MARKUP, None, 7))),
    "models": _set("classifier", value=lambda rng: rng.choice(("c" * 64, "B" * 64, "b" * 63, "b" * 64 + "\n", ""))),
    "old worker": _set("worker", value=lambda rng: rng.choice(("0.0.9", "", "0", "one", "-1", "v0.1"))),
    "reason not in the list": _set(
        "images", 0, value=lambda rng: {"status": "failed", "number": 0, "reason": rng.choice(PATHS), "detail": ""}
    ),
    "honest": _lie(lambda truth, asked, rng: None, False),
}


# ---- those that need much memory: written piece by piece ----------------------------------------------------------

_HEAD = (
    f'{{"schema":1,"unit":"xg_1","worker":"0.1.0","segmenter":"{honest.SEGMENTER}","classifier":"{honest.CLASSIFIER}",'
).encode()


def _repeated(head: bytes, piece: bytes, total: int) -> Callable[[random.Random], Callable[[Path], None]]:
    def make(rng: random.Random) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            part = piece * (1_000_000 // len(piece))
            with path.open("wb") as stream:
                stream.write(head)
                for _ in range(total // len(part)):
                    stream.write(part)

        return write

    return make


def _sparse(rng: random.Random) -> Callable[[Path], None]:
    size = rng.choice((65, 1_000, 4_000)) * 2**20

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            stream.write(_HEAD)
            stream.truncate(size)

    return write


_NEARLY = wire.MAX_RESULT_BYTES - 2_000_000
_LARGE: dict[str, Callable[[random.Random], Callable[[Path], None]]] = {
    "gigabytes (a sparse file)": _sparse,
    "64 MB of outline": _repeated(
        _HEAD + b'"host":{},"images":[{"status":"scored","drop":{"outline":[', b"[0,0],", _NEARLY
    ),
    "64 MB of probabilities": _repeated(
        _HEAD + b'"host":{},"images":[{"status":"scored","probabilities":[', b"0,", _NEARLY
    ),
    "64 MB of images": _repeated(
        _HEAD + b'"host":{},"images":[',
        b'{"status":"failed","number":0,"reason":"internal error","detail":""},',
        _NEARLY,
    ),
    "64 MB of text": _repeated(_HEAD + b'"images":[],"host":{"platform":"', b"x", _NEARLY),
    "64 MB of an unknown field": _repeated(_HEAD + b'"x":[', b"[],", _NEARLY),
    "64 MB of blanks": _repeated(_HEAD, b" ", _NEARLY),
    "64 MB of brackets": _repeated(b"", b"[", _NEARLY),
    "64 MB of keys": _repeated(_HEAD, b'"a":1,', _NEARLY),
}

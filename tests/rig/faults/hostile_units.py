"""Work units that no server sends: zip bombs, names that point outside, duplicate names, and files that are no zips."""

from __future__ import annotations

import hashlib
import io
import json
import random
import stat
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from xtalgrid_core import wire

from . import honest
from .hostile_results import PATHS, Case, flipped

_Files = list[tuple[str, bytes]]


def hostile_unit(rng: random.Random) -> Case:
    """Make a hostile unit of a random kind; the costly kinds are rare."""
    kinds = _LARGE if rng.random() < 0.01 else _SMALL
    kind = rng.choice(list(kinds))
    return Case(kind, kinds[kind](rng), must_refuse=False)  # what may be read from it is judged by its hash


def _files(rng: random.Random) -> _Files:
    pictures = [rng.randbytes(rng.randint(50, 3000)) for _ in range(3)]
    asked = honest.manifest(
        "xg_1", "pooled", [(n, hashlib.sha256(data).hexdigest()) for n, data in enumerate(pictures)]
    )
    return [("manifest.json", wire.encode(asked)), *((f"{n:03d}.jpg", data) for n, data in enumerate(pictures))]


def _zip(files: _Files, method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as unit:
        warnings.simplefilter("ignore")  # duplicate names are intended
        for name, data in files:
            unit.writestr(name, data)
    return stream.getvalue()


def _of_files(
    change: Callable[[_Files, random.Random], _Files | None],
) -> Callable[[random.Random], Callable[[Path], None]]:
    def make(rng: random.Random) -> Callable[[Path], None]:
        files = _files(rng)
        data = _zip(change(files, rng) or files)
        return lambda path: _put(path, data)

    return make


def _of_bytes(change: Callable[[bytes, random.Random], bytes]) -> Callable[[random.Random], Callable[[Path], None]]:
    def make(rng: random.Random) -> Callable[[Path], None]:
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        data = change(_zip(_files(rng), method), rng)
        return lambda path: _put(path, data)

    return make


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _manifest(change: Callable[[dict, random.Random], object]) -> Callable[[random.Random], Callable[[Path], None]]:
    def with_change(files: _Files, rng: random.Random) -> None:
        manifest = json.loads(files[0][1])
        change(manifest, rng)
        files[0] = ("manifest.json", json.dumps(manifest).encode(errors="surrogatepass"))

    return _of_files(with_change)


def _outside(files: _Files, rng: random.Random) -> None:
    """Add a file that would land outside the folder if anybody unpacked the zip."""
    files.insert(rng.randrange(5), (rng.choice((*PATHS[:5], "../" * 20 + "tmp/x", "manifest.json/../x", "a\0b")), b"x"))


def _named_outside(manifest: dict, rng: random.Random) -> None:
    manifest["images"][0]["file"] = rng.choice((*PATHS, "manifest.json", "000.jpg\n", "1.jpg", "000.exe.jpg"))


def _twice(files: _Files, rng: random.Random) -> None:
    files.append((rng.choice(files)[0], rng.randbytes(50)))


def _swapped(files: _Files, rng: random.Random) -> None:
    files[1], files[2] = (files[1][0], files[2][1]), (files[2][0], files[1][1])


def _gone(files: _Files, rng: random.Random) -> None:
    files.pop(rng.randrange(len(files)))


def _values(manifest: dict, rng: random.Random) -> None:
    image, options = manifest["images"][0], manifest["options"]
    bad = rng.choice((float("nan"), float("inf"), -1, 10**40, None, "x", [], {}))
    at, name = rng.choice(
        ((manifest, "schema"), (manifest, "unit"), (manifest, "images"), (image, "number"), (image, "sha256"))
    )
    if rng.random() < 0.5:
        at, name = rng.choice(((image, "pixel_size_um"), (options, "step"), (options, "threshold"), (options, "rule")))
    at[name] = bad


def _numbers(manifest: dict, rng: random.Random) -> None:
    manifest["images"] = manifest["images"] * rng.choice((2, 2000))


def _symlink(rng: random.Random) -> Callable[[Path], None]:
    """Put a symbolic link in place of a picture or of the manifest."""
    files = _files(rng)
    stream = io.BytesIO()
    linked = rng.randrange(4)
    with zipfile.ZipFile(stream, "w") as unit:
        for number, (name, data) in enumerate(files):
            info = zipfile.ZipInfo(name)
            if number == linked:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                data = rng.choice(PATHS).encode()
            unit.writestr(info, data)
    return lambda path: _put(path, stream.getvalue())


def _packed_oddly(rng: random.Random) -> Callable[[Path], None]:
    data = _zip(_files(rng), rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
    return lambda path: _put(path, data)


def _lying(data: bytes, rng: random.Random) -> bytes:
    """Falsify sizes, offsets, flags or methods in the zip's central directory."""
    changed = bytearray(data)
    starts = [at for at in range(len(data)) if data.startswith(b"PK\1\2", at)] + [data.rindex(b"PK\5\6")]
    at = rng.choice(starts) + 4 + 2 * rng.randrange(21 if rng.random() < 0.8 else 8)
    changed[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", bytes(4), rng.randbytes(4), b"\1\0\0\0"))
    return bytes(changed)


def _overlapping(data: bytes, rng: random.Random) -> bytes:
    """Point all entries of the central directory at the same bytes."""
    changed = bytearray(data)
    first = data.index(b"PK\1\2")
    at = first
    while (at := data.find(b"PK\1\2", at + 4)) >= 0:
        changed[at + 42 : at + 46] = data[first + 42 : first + 46]
    return bytes(changed)


def _wrapped(data: bytes, rng: random.Random) -> bytes:
    match rng.randrange(4):
        case 0:
            return b"MZ" + rng.randbytes(rng.randrange(2000)) + data
        case 1:
            return data + rng.randbytes(rng.randrange(1, 3000))
        case 2:
            return _zip([("manifest.json", data)])
        case _:
            return data[:-2] + (60_000).to_bytes(2, "little") + bytes(60_000)


def _junk(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"", rng.randbytes(500), b"PK\5\6" + bytes(18), b"PK\3\4", data[:22], b"\x1f\x8b" + data))


_SMALL = {
    "honest": _of_files(lambda files, rng: None),
    "truncated": _of_bytes(lambda data, rng: data[: rng.randrange(len(data))]),
    "bits flipped": _of_bytes(flipped),
    "junk": _of_bytes(_junk),
    "sizes and offsets that lie": _of_bytes(_lying),
    "overlapping files": _of_bytes(_overlapping),
    "wrapped in other bytes": _of_bytes(_wrapped),
    "names outside (../, absolute)": _of_files(_outside),
    "manifest names files outside": _manifest(_named_outside),
    "a name twice": _of_files(_twice),
    "symbolic links": _symlink,
    "pictures swapped": _of_files(_swapped),
    "a file missing": _of_files(_gone),
    "manifest with wrong values": _manifest(_values),
    "images numbered twice": _manifest(_numbers),
    "packed by bzip2 or LZMA": _packed_oddly,
}


# ---- those that need much memory ----------------------------------------------------------------------------------


@cache
def _bomb(what: str) -> bytes:
    """Make 100 kB that unpack to more than we read, or a list of 300,000 names; each is made once."""
    files = _files(random.Random(0))
    if what == "picture":
        return _packed(files[:1], "000.jpg", b"", b"\0", wire.MAX_IMAGE_BYTES + 5_000_000)
    if what == "largest picture":
        return _packed(files[:1], "000.jpg", b"", b"\0", wire.MAX_IMAGE_BYTES - 1_000_000)
    if what == "manifest":
        return _packed([], "manifest.json", b"", b"[", 40_000_000)
    if what == "manifest of blanks":
        return _packed([], "manifest.json", files[0][1][:-1], b" ", 60_000_000)
    data = _zip(files)
    entry = data[data.index(b"PK\1\2") : data.rindex(b"PK\5\6")]
    number = 60_000 if what == "names" else 300_000
    names = entry[: entry.index(b"PK\1\2", 4)] * number
    count = min(number, 0xFFFF).to_bytes(2, "little")
    size, offset = len(names).to_bytes(4, "little"), data.index(b"PK\1\2").to_bytes(4, "little")
    end = b"PK\5\6" + bytes(4) + count + count + size + offset + bytes(2)
    return data[: data.index(b"PK\1\2")] + names + end


def _packed(files: _Files, name: str, head: bytes, byte: bytes, size: int) -> bytes:
    """Zip a large file piece by piece: the memory it takes to make must not hide what it takes to read."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as unit:
        for other, data in files:
            unit.writestr(other, data)
        with unit.open(name, "w") as packed:
            packed.write(head)
            for _ in range(size // 1_000_000):
                packed.write(byte * 1_000_000)
    return stream.getvalue()


def _bombs(what: str) -> Callable[[random.Random], Callable[[Path], None]]:
    return lambda rng: lambda path: _put(path, _bomb(what))


def _sparse(rng: random.Random) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as stream:
            stream.write(_zip(_files(rng)))
            stream.truncate(4 * 2**30)

    return write


_LARGE = {
    "picture bomb": _bombs("picture"),
    "picture bomb below the limit": _bombs("largest picture"),
    "manifest bomb": _bombs("manifest"),
    "manifest bomb of blanks": _bombs("manifest of blanks"),
    "60,000 names": _bombs("names"),
    "300,000 names": _bombs("more names"),
    "gigabytes (a sparse file)": _sparse,
}

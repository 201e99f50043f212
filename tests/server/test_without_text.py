"""No text of an original travels, and its score stays the same to the last digit."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin

from tests.conftest import encoded, missing
from tests.conftest import well as large_well
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.images import WellImage, read_image
from xtalgrid_core.weights import default_models
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.reports.recompute import recompute
from xtalgrid_server.steps.system import System
from xtalgrid_server.storage.without_text import without_text

from .conftest import INSPECTED

TEXT = "PROJECT X"
LATIN, WIDE = TEXT.encode(), TEXT.encode("utf-16-le")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def well(colour: tuple[int, int, int] = (150, 40, 40)) -> np.ndarray:
    return large_well(colour, height=240, width=320)


DEEP = well().mean(axis=2).astype(np.uint16) * 16
"""As from a camera of 12 bits."""


def exif(turned: int | None = None) -> Image.Exif:
    """EXIF with text in the tags that programs write, and a direction."""
    tags = Image.Exif()
    for tag in (0x010D, 0x010E, 0x010F, 0x0131, 0x013B, 0x8298, 0xC4A5):
        tags[tag] = TEXT
    tags[0x9C9C] = WIDE
    tags.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + LATIN
    if turned:
        tags[0x0112] = turned
    return tags


def jpeg(**options: object) -> bytes:
    written: dict[str, object] = {"comment": LATIN, "exif": exif(), "xmp": LATIN, **options}
    data = encoded(well(), "JPEG", **written)
    iptc = b"Photoshop 3.0\0" + LATIN
    segments = b"".join(bytes((0xFF, kind)) + struct.pack(">H", len(iptc) + 2) + iptc for kind in (0xED, 0xE5, 0xEF))
    return data[:2] + segments + data[2:] + LATIN


def with_thumbnail() -> bytes:
    data = encoded(well(), "JPEG")
    thumbnail = (LATIN + bytes(300))[:300]
    return data[:4] + struct.pack(">H", 316) + data[6:18] + b"\x0a\x0a" + thumbnail + data[20:]


def of_several_pictures() -> bytes:
    stream = io.BytesIO()
    frames = [Image.fromarray(well(colour)) for colour in ((150, 40, 40), (40, 40, 150))]
    frames[1].info["comment"] = LATIN
    frames[0].save(stream, "MPO", save_all=True, append_images=frames[1:], comment=LATIN, exif=exif())
    return stream.getvalue()


def png(image: np.ndarray, **options: object) -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", TEXT)
    texts.add_text("Comment", TEXT, zip=True)
    texts.add_itxt("Description", TEXT, "en", TEXT)
    texts.add_itxt("XML:com.adobe.xmp", TEXT, zip=True)
    texts.add(b"tIME", b"\x07\xea\x01\x01\0\0\0")
    texts.add(b"prVt", LATIN)
    return encoded(image, "PNG", pnginfo=texts, exif=exif(), **options) + LATIN


def tiff(image: np.ndarray | None = None, turned: int | None = None, **options: object) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (269, 270, 271, 272, 305, 306, 315, 316, 33432, 65001):
        tags[tag] = TEXT
        tags.tagtype[tag] = 2
    for tag, kind in ((700, 1), (33723, 7), (34377, 1), (50839, 7)):
        tags[tag] = LATIN
        tags.tagtype[tag] = kind
    if turned:
        tags[274] = turned
    return encoded(well() if image is None else image, "TIFF", tiffinfo=tags, **options)


def by_tifffile(image: np.ndarray, **options: object) -> bytes:
    """A TIFF with further pages, and layouts that Pillow does not write."""
    tifffile = pytest.importorskip("tifffile", reason="writes TIFFs in tiles and planes (extra train)")
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, bigtiff=options.pop("bigtiff", False), byteorder=options.pop("order", "<")) as out:
        for page in range(2):
            out.write(image, description=f"{TEXT} {page}", software=TEXT, metadata=None, **options)
    return stream.getvalue()


def gif() -> bytes:
    frames = [Image.fromarray(well(colour)).quantize(64) for colour in ((150, 40, 40), (40, 40, 150))]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], comment=LATIN, loop=3, transparency=5)
    data = stream.getvalue()
    application = b"\x21\xff\x0bXMP DataXMP" + bytes([len(LATIN)]) + LATIN + b"\0"
    plain = b"\x21\x01\x0c" + bytes(12) + bytes([len(LATIN)]) + LATIN + b"\0"
    behind_colours = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:behind_colours] + application + plain + data[behind_colours:] + LATIN


def bmp(image: Image.Image | None = None) -> bytes:
    """A BMP with text between its header and its rows, and behind them."""
    stream = io.BytesIO()
    (image or Image.fromarray(well())).save(stream, "BMP")
    data = stream.getvalue()
    begin = int.from_bytes(data[10:14], "little")
    return data[:10] + struct.pack("<I", begin + 12) + data[14:begin] + LATIN.ljust(12) + data[begin:] + LATIN


def bmp_linking_a_profile() -> bytes:
    rows = encoded(well(), "BMP")[54:]
    link = LATIN + b"\0"
    about = struct.pack("<iiHHIIiiII", 320, 240, 1, 24, 0, len(rows), 0, 0, 0, 0) + bytes(16) + b"KNIL" + bytes(52)
    header = struct.pack("<I", 124) + about + struct.pack("<III", 124 + len(rows), len(link), 0)
    return b"BM" + struct.pack("<IHHI", 138 + len(rows) + len(link), 0, 0, 138) + header + rows + link


FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": jpeg,
    "jpeg progressive": lambda: jpeg(progressive=True, restart_marker_blocks=7),
    "jpeg profile": lambda: jpeg(icc_profile=PROFILE),
    "jpeg profile of 4 segments": lambda: jpeg(icc_profile=PROFILE + bytes(200_000)),
    "jpeg gray": lambda: encoded(well()[:, :, 1], "JPEG", comment=LATIN, exif=exif()),
    "jpeg turned": lambda: jpeg(exif=exif(turned=6)),
    "jpeg thumbnail": with_thumbnail,
    "jpeg of several pictures": of_several_pictures,
    "png": lambda: png(well(), icc_profile=PROFILE, dpi=(300, 300)),
    "png 16 bits": lambda: png(DEEP),
    "png animated": lambda: png(well(), save_all=True, append_images=[Image.fromarray(well((1, 2, 3)))]),
    "tiff": tiff,
    "tiff turned": lambda: tiff(turned=6),
    "tiff profile": lambda: tiff(icc_profile=PROFILE),
    "tiff deflate": lambda: tiff(compression="tiff_adobe_deflate"),
    "tiff lzw": lambda: tiff(compression="tiff_lzw"),
    "tiff packbits": lambda: tiff(compression="packbits"),
    "tiff jpeg": lambda: tiff(compression="jpeg", quality=90),
    "tiff 16 bits": lambda: tiff(DEEP),
    "tiff float": lambda: tiff(DEEP.astype(np.float32)),
    "tiff pages": lambda: by_tifffile(well()),
    "tiff pages big-endian": lambda: by_tifffile(DEEP, order=">"),
    "tiff big": lambda: by_tifffile(well(), bigtiff=True),
    "tiff tiles": lambda: by_tifffile(well(), tile=(128, 96)),
    "tiff tiles deflate": lambda: by_tifffile(DEEP, tile=(128, 96), compression="zlib", predictor=True),
    "tiff planes": lambda: by_tifffile(np.moveaxis(well(), 2, 0).copy(), planarconfig="separate", photometric="rgb"),
    "gif": gif,
    "bmp": bmp,
    "bmp palette": lambda: bmp(Image.fromarray(well()).quantize(16)),
    "bmp linking a profile": bmp_linking_a_profile,
}  # fmt: skip


def cmyk() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(well()).convert("CMYK").save(stream, "JPEG", comment=LATIN, exif=exif())
    return stream.getvalue()


FILES["jpeg of Adobe's CMYK"] = cmyk


def assert_same_picture(original: bytes, clean: bytes) -> None:
    """All that the networks can see of a file."""
    assert np.array_equal(read_image(original), read_image(clean))
    assert np.array_equal(WellImage(original)._small, WellImage(clean)._small)


@pytest.mark.parametrize("kind", FILES)
def test_text_is_left_out_and_the_picture_stays(kind):
    original = FILES[kind]()
    assert LATIN in original
    clean, why = without_text(original)
    assert why is None
    assert not {LATIN, WIDE, b"\0P\0R\0O\0J"} & {text for text in (LATIN, WIDE, b"\0P\0R\0O\0J") if text in clean}
    assert_same_picture(original, clean)
    with Image.open(io.BytesIO(original)) as before, Image.open(io.BytesIO(clean)) as after:
        assert TEXT not in repr([after.info, getattr(after, "text", None), dict(getattr(after, "tag_v2", {}))])
        assert (after.mode, after.size) == (before.mode, before.size)
        assert getattr(after, "n_frames", 1) == 1
        if kind != "gif":
            assert after.info.get("icc_profile") == before.info.get("icc_profile")
    assert without_text(clean) == (clean, None), "twice is once"


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "gif"])
def test_exiftool_writes_text_and_finds_none_of_it_afterwards(tmp_path, kind):
    if (exiftool := shutil.which("exiftool")) is None:
        missing("exiftool is not installed (Debian's package libimage-exiftool-perl)")
    path = tmp_path / f"drop.{kind}"
    path.write_bytes(encoded(well(), kind))
    tags = ["XMP-dc:Description", "Comment"]
    tags += [] if kind == "gif" else ["IPTC:Keywords", "EXIF:Artist", "EXIF:UserComment", "EXIF:ImageDescription"]
    subprocess.run([exiftool, "-q", "-m", *(f"-{tag}={TEXT}" for tag in tags), path], check=True)
    original = path.read_bytes()
    path.write_bytes(without_text(original)[0])
    read = [exiftool, "-json", "-a", "-u", "-G1", "-ee", "-validate", path]
    ((found),) = json.loads(subprocess.run(read, capture_output=True, check=True).stdout)
    groups = {name.split(":")[0] for name in found} - {"SourceFile"}
    assert groups <= {"ExifTool", "System", "File", "JFIF", "PNG", "PNG-pHYs", "IFD0", "GIF", "Composite"}
    assert TEXT not in json.dumps(found)
    assert found["ExifTool:Validate"] == "OK" or kind == "tiff"  # which wants a resolution, and Pillow writes none
    assert_same_picture(original, path.read_bytes())


def test_real_images_stay_the_same(shared):
    paths = [path for path in sorted(shared.glob("real/**/*")) if path.suffix in (".jpg", ".jpeg", ".png")][::12]
    assert len(paths) > 50
    for path in paths:
        original = path.read_bytes()
        clean, why = without_text(original)
        assert why is None, path
        assert np.array_equal(read_image(original), read_image(clean)), path


def unclear_tiff() -> bytes:
    """A TIFF that can be decoded although its only strip covers its text too."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270] = TEXT * 20
    data = bytearray(encoded(well(), "TIFF", tiffinfo=tags, compression="tiff_lzw", strip_size=2**20))
    with Image.open(io.BytesIO(data)) as image:
        (size,) = image.tag_v2[279]
    at = data.index(struct.pack("<HHII", 279, 4, 1, size))
    data[at : at + 12] = struct.pack("<HHII", 279, 4, 1, len(data) - 8)
    return bytes(data)


def packed(system: System) -> tuple[str, wire.Manifest, dict[str, bytes]]:
    """The name, manifest and images of the only unit that waits."""
    (name,) = system.grid.waiting()
    with zipfile.ZipFile(system.config.spool / "units" / name / wire.UNIT_FILE) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return name, wire.decode_manifest(files.pop(wire.MANIFEST_NAME)), files


def enter(system: System, *contents: bytes) -> list[ImageRow]:
    """Enter drops into the imager database whose barcode and names say what nobody else may read."""
    rows = system.imager.register(
        [
            ImageRow(0, TEXT, 1, INSPECTED, Well(1, column, 1), f"{TEXT}_{column}.jpg")
            for column in range(1, len(contents) + 1)
        ]
    )
    for row, data in zip(rows, contents, strict=True):
        path = system.config.image_root / TEXT / "1" / row.image_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return rows


def test_a_unit_holds_no_text_and_scores_stay_those_of_the_originals(system, tiny_weights):
    shutil.copytree(tiny_weights, system.config.weights)
    models = dict(zip(("segmenter", "classifier"), default_models(tiny_weights), strict=True))
    work = msgspec.structs.replace(system.config.work, rule="group", **models)
    system.config = msgspec.structs.replace(system.config, work=work)
    originals = [FILES["jpeg"](), FILES["tiff lzw"](), unclear_tiff()]
    rows = enter(system, *originals)
    system.create_work()
    name, manifest, files = packed(system)
    unit = b"".join(path.read_bytes() for path in (system.config.spool / "units" / name).rglob("*") if path.is_file())
    assert not any(text in unit for text in (LATIN, WIDE))
    assert TEXT not in name
    assert [entry.sha256 for entry in manifest.images] == [
        hashlib.sha256(files[entry.file]).hexdigest() for entry in manifest.images
    ]

    system.work()
    results = b"".join(path.read_bytes() for path in system.config.spool.rglob("*") if path.is_file())
    assert not any(text in results for text in (LATIN, WIDE)), "what a worker says or keeps"
    assert system.assimilate().scores == len(rows)
    for row, original in zip(rows, originals, strict=True):
        (score,) = system.ledger.scores.newest([row.inspect_id])
        assert score.sha256 == hashlib.sha256(original).hexdigest()
        (origin,) = system.ledger.scores.origins(score.image_id).values()
        assert recompute(system.config, system.ledger, score, origin).verdict == "same"


def test_a_file_whose_parts_cannot_be_told_apart_travels_as_its_pixels_and_is_named(system, caplog):
    original = unclear_tiff()
    enter(system, original)
    system.create_work()
    _, _, files = packed(system)
    ((data),) = files.values()
    assert data.startswith(b"\x89PNG") and LATIN not in data
    assert_same_picture(original, data)
    assert f"{TEXT}_1.jpg: parts of the TIFF overlap" in caplog.text


def test_a_file_that_nobody_can_decode_fails_with_its_own_reason(system):
    in_the_old_way = struct.pack("<HHIHH", 259, 3, 1, 6, 0)  # JPEG, of which there is nothing here
    broken = unclear_tiff().replace(struct.pack("<HHIHH", 259, 3, 1, 5, 0), in_the_old_way)
    enter(system, broken, encoded(well(), "JPEG"))
    ((row, error),) = system.create_work().waiting  # for what is missing
    assert (row.image_name, error.reason) == (f"{TEXT}_1.jpg", FailureReason.TRUNCATED)
    assert len(packed(system)[1].images) == 1


def test_a_unit_packed_again_has_the_same_bytes(system):
    enter(system, jpeg(), png(well()), tiff())
    system.create_work()
    name, _, _ = packed(system)
    path = system.config.spool / "units" / name / wire.UNIT_FILE
    before = path.read_bytes()
    shutil.rmtree(path.parent)
    system.create_work()
    assert path.read_bytes() == before


def test_compressed_text_is_no_chunk_of_a_png():
    kinds, data, at = [], without_text(png(well()))[0], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kinds.append(data[at + 4 : at + 8])
        assert zlib.crc32(data[at + 4 : at + 8 + length]) == struct.unpack_from(">I", data, at + 8 + length)[0]
        at += 12 + length
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}

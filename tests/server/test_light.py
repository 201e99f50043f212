"""Only visible images are scored: which ones names tell, what is passed over and said, and dark pictures."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.images import WellImage
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.light import Light, LightRules
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak.check import check_imager
from xtalgrid_server.reports import entries
from xtalgrid_server.reports.status import status, status_lines
from xtalgrid_server.steps.assimilate.agree import image_disagreement
from xtalgrid_server.steps.assimilate.doubt import judged
from xtalgrid_server.steps.new_crystals import new_crystals
from xtalgrid_server.steps.run import FolderRun, run_folder
from xtalgrid_server.steps.system import System
from xtalgrid_synth import render_plate

from .conftest import answer, draw_well, rigaku_name

OPTIONS = wire.Options(segmenter="a" * 64, classifier="b" * 64)
SIZE = {"width": 640, "height": 480, "pixel_size_um": 4.52}
PROFILE = "RockMakerStorage/WellImages/100/plateID_3100/batchID_17409/wellNum_{}/profileID_{}/d1_r26065{}_ef.jpg"


def planned(system: System) -> set[str]:
    """Names of the images in work units."""
    return {
        image.image_name for unit in system.ledger.units.in_states("sent") for image in system.ledger.units.images(unit)
    }


def opened(home: Path, text: str = "") -> System:
    return System(from_string(text, home=home))


def entered(system: System, folder: Path, **options: object) -> set[str]:
    """Import a folder and plan its images; return the names of those planned."""
    system.import_folder(folder, recursive=True, **options)
    system.create_work()
    return planned(system)


# ---- a property: folders with a mixture of visible and other images, in real conventions ------------------------

PICTURE = io.BytesIO()
_drawn = Image.new("RGB", (96, 96), (200, 200, 190))
_drawn.paste((90, 90, 90), (32, 32, 64, 64))
_drawn.save(PICTURE, "JPEG")

WORDS = st.sampled_from(["ROBO", "Test1", "UV", "UvrD", "SHG2", "Clon1", "bf"])
WELLS = st.integers(1, 8)


@st.composite
def rigaku(draw: st.DrawFn) -> tuple[str, bool]:
    """The 14th field is the light; the fourth to sixth are a lab's own words."""
    words = "_".join(draw(WORDS) for _ in range(3))
    code = draw(st.sampled_from(["HF", "E0", "00", "UV"]))
    name = f"RMM3_01_222_{words}_CI_0000CI000003_001_240305_01_{draw(WELLS):02d}_01_{code}_99_030_001_RDI.jpg"
    return f"CI000003/1/{name}", code != "UV"


@st.composite
def rockimager(draw: st.DrawFn) -> tuple[str, bool]:
    """Profile 1 is the imager's default, which is visible."""
    well, profile = draw(WELLS), draw(st.sampled_from([1, 2, 4, 10, 11, 41]))
    return PROFILE.format(well, profile, well), profile == 1


@st.composite
def polo(draw: st.DrawFn) -> tuple[str, bool]:
    """Hauptman-Woodward: the folder's end is the light, and the files of two lights differ by their times only."""
    kind, hour = draw(st.sampled_from([("jpg", 10), ("uvt", 11), ("shg", 12)]))
    plate, when = "X000012345", f"20240108{hour}{draw(st.integers(10, 59))}"
    return f"{plate}{when}-{kind}/{plate}{draw(WELLS):04d}{when}.jpg", kind == "jpg"


@st.composite
def exported(draw: st.DrawFn) -> tuple[str, bool]:
    """RockMaker's export by RM_Image_export: well, name of the profile, score, number."""
    visible = draw(st.booleans())
    names = ["ImagerDefaults", "HighResolution", "Visible"] if visible else ["UVTPEF", "UV", "SHG", "CrossPolarized"]
    return f"{draw(st.sampled_from('ABCDEFGH'))}{draw(WELLS)}_{draw(st.sampled_from(names))}_Clear_1.jpg", visible


@settings(max_examples=4, deadline=None)
@given(st.data())
@pytest.mark.parametrize(
    ("convention", "names"), [(rigaku, "rigaku"), (rockimager, "rockimager"), (polo, "marco"), (exported, "marco")]
)
def test_no_image_in_other_light_is_scored_and_every_visible_one_is(convention, names, data):
    files = dict(data.draw(st.lists(convention(), min_size=4, max_size=30)))
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            path = Path(folder, "images", file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PICTURE.getvalue())
        with opened(Path(folder, "home")) as system:
            names_planned = entered(system, Path(folder, "images"), names=names)
            counted = sum(system.ledger.passed_over.counts().values())
    stored = {file: "_".join(Path(file).parts[3:]) if names == "rockimager" else Path(file).name for file in files}
    found = {file for file, name in stored.items() if any(one.endswith(name) for one in names_planned)}
    visible = {file for file, is_visible in files.items() if is_visible}
    assert found == visible
    assert counted == len(files) - len(visible)


@settings(max_examples=4, deadline=None)
@given(images=st.lists(st.one_of(rigaku(), exported()), min_size=4, max_size=40))
def test_of_the_imager_s_rows_every_visible_image_is_taken_and_no_other(images):
    """There are no files, so each image that is taken is recorded as missing."""
    files = {Path(file).name: is_visible for file, is_visible in images}
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as system:
        rows = [ImageRow(0, "CI000003", 1, datetime(2024, 3, 5), Well(1, 1, 1), name) for name in files]
        system.imager.register(rows)
        for _ in range(2):
            created = system.create_work()
        assert {file for file, _, _ in system.ledger.failures.of_files()} == {n for n in files if files[n]}
        assert sum(system.ledger.passed_over.counts().values()) == sum(not visible for visible in files.values())
        assert created.planned == 0


# ---- the way of a plate imaged in both ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Config, FolderRun, Path]]:
    """A plate of two drops in visible and UV light, run by the shipped networks."""
    folder = tmp_path_factory.mktemp("both")
    outcomes = [Outcome.CLEAR, Outcome.HARVESTABLE]
    render_plate(folder / "new", barcode="CI000003", seed=1, wells=outcomes, uv=True, **SIZE)
    config = from_string("[imager]\npixel_size_um = 4.52", home=folder / "home")
    with System(config) as system:
        yield config, run_folder(system, folder / "new" / "CI000003", recursive=True, frames="none"), folder


def test_a_drop_in_both_lights_gets_one_score_from_the_visible_image(both):
    config, account, _ = both
    assert [("_HF_" in score.image_name) for score in account.scored] == [True, True]
    assert account.imported.lights.passed_over == {"uv": 2}
    assert account.account.passed_over == {".csv": 2, "in UV light": 2}
    assert account.account.there == account.total + 2 == 6
    with System(config) as system:
        assert status(config, system.ledger, system.imager).lights == {"uv": 2}
        assert "passed over: 2 images in UV light" in "\n".join(
            status_lines(status(config, system.ledger, system.imager))
        )
        assert [[mate.light for mate in system.imager.mates(score.inspect_id)] for score in account.scored] == [
            ["uv"]
        ] * 2


def test_a_uv_image_whose_name_says_nothing_is_undecided_and_does_not_outvote(tmp_path):
    (file,) = render_plate(tmp_path / "drawn", barcode="CI1", seed=1, wells=[Outcome.HARVESTABLE], uv=True, **SIZE)
    uv = file.with_name(file.name.replace("_HF_", "_UV_"))
    for column, kinds in ((1, ("HF", "X1")), (2, ("X1",))):
        for kind in kinds:
            name = rigaku_name(column).replace("_HF_", f"_{kind}_")
            target = tmp_path / "new" / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes((file if kind == "HF" else uv).read_bytes())
    config = from_string("[imager]\npixel_size_um = 4.52", home=tmp_path / "home")
    with System(config) as system:
        account = run_folder(system, tmp_path / "new", frames="none")
        scores = {(str(s.well), "_HF_" in s.image_name): s for s in account.scored}
        state = status(config, system.ledger, system.imager)
        written = list(system.ledger.counts()["actions"].items())
    assert scores["A1a", True].outcome.group == "crystal"
    assert [scores[place].outcome for place in (("A1a", False), ("A2a", False))] == [Outcome.UNDECIDED] * 2
    assert [scores[place].p_crystal for place in (("A1a", False), ("A2a", False))] == [0, 0]
    assert dict(written) == {"publish": 1, "none": 2}
    assert state.looking_like_uv == account.looking_like_uv == 2
    assert any("imager.light.uv" in line and "2 images" in line for line in status_lines(state))
    assert account.imported.lights.untold == 1  # A1a: HF and X1


def test_what_the_configuration_calls_visible_is_not_doubted():
    light = from_string('[imager.light]\nvisible = ["dark_*"]').light
    dark = msgspec.structs.replace(answer(0, Outcome.HARVESTABLE), looks_like_uv=True)
    said = judged([dark, dark, answer(2, Outcome.CLEAR)], ["dark_A1.jpg", "A2.jpg", "A3.jpg"], light, OPTIONS)
    assert [one.outcome for one in said] == [Outcome.HARVESTABLE, Outcome.UNDECIDED, Outcome.CLEAR]
    assert (said[1].p_crystal, said[1].groups, said[1].boxes) == (0, None, ())


def test_most_rendered_uv_images_look_like_it_and_no_bright_field_image_does(tmp_path):
    render_plate(tmp_path, barcode="CI1", seed=3, wells=list(Outcome)[:6], uv=True, **SIZE)
    looks = {file.name: WellImage(file.read_bytes()).looks_like_uv for file in tmp_path.rglob("*.jpg")}
    assert len(looks) == 12
    assert not any(is_dark for name, is_dark in looks.items() if "_HF_" in name)
    assert sum(looks.values()) == 5  # in the sixth, all of the drop glows grey


def test_real_images(shared):
    """What the rule finds: most UV images that are dark, and none of a real plate."""
    wells = shared / "real" / "wells"
    assert WellImage((wells / "well_1464_uvtpef.png").read_bytes()).looks_like_uv
    files = [
        wells / "well_1464_brightfield_fullres.png",
        *sorted((shared / "real" / "plate_CI022987").glob("*.jpg"))[:20],
    ]
    assert not any(WellImage(file.read_bytes()).looks_like_uv for file in files)


def test_two_computers_must_see_the_same():
    bright, dark = answer(0, Outcome.CLEAR), msgspec.structs.replace(answer(0, Outcome.CLEAR), looks_like_uv=True)
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64)
    assert image_disagreement(dark, dark, options) == ""
    assert "dark" in image_disagreement(dark, bright, options)


# ---- what a lab configures ---------------------------------------------------------------------------------------


def test_viewer_uv_of_an_existing_configuration_is_not_scored_either(tmp_path):
    for kind in ("HF", "U1"):
        draw_well(tmp_path / "new" / rigaku_name().replace("_HF_", f"_{kind}_"))
    with opened(tmp_path / "home", '[viewer]\nuv = ["*_U1_*"]') as system:
        assert entered(system, tmp_path / "new") == {rigaku_name()}


@pytest.mark.parametrize(
    "text", ['[imager.light]\nvisible = ["*_profileID_4_*"]', '[imager]\npatterns = ["*_profileID_4_*"]']
)
def test_a_capture_profile_that_the_configuration_names_is_visible(tmp_path, text):
    file = draw_well(tmp_path / "new" / PROFILE.format(1, 4, 1))
    with opened(tmp_path / "home") as system:
        assert entered(system, tmp_path / "new", names="rockimager") == set()
        assert list(system.ledger.passed_over.counts()) == ["profile 4"]
    with opened(tmp_path / "home", text) as system:  # what was passed over before is found again
        assert entered(system, tmp_path / "new", names="rockimager") == {"_".join(file.parts[-5:])}
        assert system.ledger.passed_over.counts() == {}


def test_lights_are_read_from_the_configuration():
    config = from_string('[imager.light]\nuv = ["*_HF_*"]\nother = ["*_E0_*"]')
    assert config.light.of("a_hf_b.jpg") is Light.UV
    assert config.light.of("a_E0_b.jpg") is Light.OTHER
    with pytest.raises(ConfigError, match=r"imager\.light"):
        from_string('[imager.light]\nuvv = ["*_HF_*"]')


@pytest.mark.parametrize(
    ("name", "light"),
    [
        ("J000597_A07_11_5xBF_0.1s_20200413130523.jpg", Light.VISIBLE),  # AMi
        ("J000597_A07_11_5xUV_0.1s_20200413130523.jpg", Light.UV),
        ("A1-uv_tpef.png", Light.UV),
        ("A1_dark field.png", Light.OTHER),
        ("UvrD_A1.jpg", None),
        ("C10_DefaultUV_Crystal_1.jpg", Light.UV),  # Rock Maker's profiles "Default UV", "UV Imaging", "SHG Imaging"
        ("C10_UVImaging_Crystal_1.jpg", Light.UV),
        ("C10_SHGImaging_Crystal_1.jpg", Light.OTHER),
        ("A1_5xPOL_1.jpg", Light.OTHER),
        ("Pol_beta_A1.jpg", None),
        ("98HE_01A_1.png", None),  # VMXi
        ("90j8_01A_2.jpg", None),  # XChem
    ],
)
def test_words_in_names(name, light):
    assert LightRules().of(name) is light


# ---- what nothing tells is said ----------------------------------------------------------------------------------


def test_several_images_of_one_inspection_whose_light_nothing_tells_are_said(tmp_path, capsys):
    names = [f"A{column}_{kind}.jpg" for column in (1, 2) for kind in (1, 2)]
    for name in names:
        draw_well(tmp_path / "plate" / name)
    file = tmp_path / "xtalgrid.toml"
    file.write_text("[import]\nnames = '(?P<row>[A-H])(?P<column>\\d+)_\\d'\n")
    asked = ["--config", str(file), "--home", str(tmp_path / "home")]
    said = {}
    for command in (["import-folder", str(tmp_path / "plate")], ["create_work"], ["check-imager"]):
        try:
            main([*asked, *command], standalone_mode=False)
        except SystemExit:
            assert command == ["check-imager"]
        said[command[0]] = capsys.readouterr().out
    for text in said.values():
        assert re.search(r"2 drops have several images of one inspection, such as A._1\.jpg and A._2\.jpg", text)
        assert "imager.light" in text


def test_focus_slices_are_one_light(system, tmp_path):
    for number in ("01", "05", "99"):
        draw_well(tmp_path / "new" / rigaku_name().replace("_HF_99_", f"_Q7_{number}_"))
    imported = system.import_folder(tmp_path / "new")
    assert imported.lights.untold == 0
    draw_well(tmp_path / "new" / rigaku_name().replace("_HF_99_", "_Q8_99_"))
    assert system.import_folder(tmp_path / "new").lights.untold == 1


def test_what_is_passed_over_is_said_once(system, tmp_path):
    for kind in ("HF", "UV"):
        draw_well(tmp_path / "new" / rigaku_name().replace("_HF_", f"_{kind}_"))
    system.import_folder(tmp_path / "new")
    assert [dict(system.create_work().lights.passed_over) for _ in range(2)] == [{"uv": 1}, {}]
    assert status(system.config, system.ledger, system.imager).lights == {"uv": 1}


def test_the_reason_of_what_is_passed_over_is_that_of_today(system, tmp_path):
    draw_well(tmp_path / "new" / PROFILE.format(1, 4, 1))
    system.import_folder(tmp_path / "new", recursive=True, names="rockimager")
    system.create_work()
    assert system.ledger.passed_over.counts() == {"profile 4": 1}
    imager = msgspec.structs.replace(system.config.imager, light={Light.UV: ("*profileID_4*",)})
    with System(msgspec.structs.replace(system.config, imager=imager)) as named:
        assert dict(named.create_work().lights.passed_over) == {}
        assert named.ledger.passed_over.counts() == {"uv": 1}


def test_check_imager_says_that_nothing_of_the_newest_is_scored(system, tmp_path):
    draw_well(tmp_path / "new" / PROFILE.format(1, 4, 1))
    system.import_folder(tmp_path / "new", recursive=True, names="rockimager")
    findings = [f for f in check_imager(system.config, system.imager) if "profile" in f.text and "newest 1" in f.text]
    assert [finding.is_good for finding in findings] == [False]
    assert "imager.light.visible" in findings[0].text


def test_scores_of_uv_images_from_before_have_no_say(system, score):
    """A ledger in which an earlier version scored both."""
    (row,) = score({(1, 1): Outcome.CLEAR})
    (uv,) = score({(1, 1): Outcome.HARVESTABLE}, image="UV", p_crystal=0.99)
    assert row.inspect_id == uv.inspect_id
    ledger, place = system.ledger, (row.barcode, row.inspection)
    assert [image.image_name for image in ledger.images.of_plate(row.barcode)] == [row.image_name]
    assert [drop.artscore for drop in entries.inspections(ledger, entries.Filter())] == [Outcome.CLEAR]
    assert new_crystals(ledger, 0.9) == []
    assert ledger.plates.counts([place])[place].outcomes == {Outcome.CLEAR: 1}
    assert len(ledger.images.of_plate(row.barcode, all_lights=True)) == 2, "the history stays"
    system.finalize("none")
    lines = [
        msgspec.json.decode(line.csv_row)
        for line in system.ledger.decisions.of_run(system.ledger.decisions.newest_run())
    ]
    assert {line["image"]: line["action"] for line in lines} == {row.image_name: "publish", uv.image_name: "none"}

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server import config as config_module
from xtalgrid_server.config import from_string, load, sections


def test_an_empty_file_is_a_complete_configuration(tmp_path):
    config = from_string("", home=tmp_path)
    assert config.imager_url == f"sqlite:///{tmp_path}/imager.db"
    assert config.image_root == tmp_path / "images"
    assert config.publish.policy == "behind"
    assert config.score_code(Outcome.CLEAR) == "01"


def test_the_example_names_every_key_with_its_default(tmp_path):
    example = Path(config_module.__file__).with_name("example.toml").read_text()
    assert from_string(example, home=tmp_path) == from_string("", home=tmp_path)
    for section in example.split("\n[")[1:]:
        name, _, body = section.partition("]")
        shown = dict(re.findall(r"^# (\w+) = (.*?)(?:  +#.*)?$", body, re.MULTILINE))
        fields = {field.name: field for field in msgspec.structs.fields(sections.SECTIONS[name])}
        tables = {"codes", "light", "tables", "columns", "ispyb"}
        assert set(shown) | tables == set(fields) | tables, name
        values = tomllib.loads("\n".join(f"{key} = {value}" for key, value in shown.items()))
        for key in set(fields) - {
            "names" if name == "scores" else "",
            "pixel_size_um",
            "hold",
            "workers",
            "codes",
            "light",
            "tables",
            "columns",
            "plates",
            "ispyb",
        }:  # no default that could be shown
            assert msgspec.convert(values[key], fields[key].type) == fields[key].default, f"{name}.{key}"


@pytest.mark.parametrize("name", ["imager.ispyb", "publish.ispyb"])
def test_the_example_names_every_key_of_a_section_in_a_section(name):
    example = Path(config_module.__file__).with_name("example.toml").read_text()
    (body,) = re.findall(rf"^# \[{re.escape(name)}\].*\n((?:# \".*\n)+)", example, re.MULTILINE)
    outer, inner = name.split(".")
    section = {field.name: field.type for field in msgspec.structs.fields(sections.SECTIONS[outer])}[inner]
    shown = tomllib.loads("\n".join(line.removeprefix("# ") for line in body.splitlines()))
    assert set(shown) == {field.name for field in msgspec.structs.fields(section)}
    assert msgspec.convert(shown, section) == section()


def test_all_mistakes_are_named_at_once_each_with_its_key():
    with pytest.raises(ConfigError) as caught:
        from_string(
            """
            [imager]
            time_zone = "Mars/Olympus"
            paterns = ["*"]
            codes = { "crystal harvestable" = "45" }
            [work]
            threshold = 1.5
            wells_per_unit = "many"
            [publish]
            policy = "loud"
            hold = [{ outcome = "cristal" }]
            [wrok]
            """
        )
    message = str(caught.value)
    for key in (
        "imager.time_zone",
        "imager.paterns",
        "imager.codes",
        "work.threshold",
        "work.wells_per_unit",
        "publish.policy",
        "publish.hold",
        "wrok",
    ):
        assert f"  {key}: " in message, message
    assert "did you mean patterns?" in message
    assert "did you mean crystals harvestable?" in message
    assert "8 errors" in message


def test_a_lab_with_other_codes(tmp_path):
    config = from_string('[imager.codes]\n"crystals harvestable" = "45"\n', home=tmp_path)
    assert config.score_code(Outcome.HARVESTABLE) == "45"
    assert config.score_code(Outcome.BAD_FORM) == "22"
    assert config.score_code(Outcome.UNDECIDED) is None


def test_a_named_file_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.toml: .*xtalgrid init"):
        load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("text", ["[import]\nnames = 'any' # \ufeff ü\n", "\ufeff[import]\r\nnames = 'any'\r\n"])
def test_a_file_as_windows_editors_write_it(tmp_path, text):
    (tmp_path / "x.toml").write_bytes(text.encode())
    assert load(tmp_path / "x.toml").import_.names == "any"
    for encoding in ("utf-16", "latin-1"):
        (tmp_path / "x.toml").write_bytes("# für".encode(encoding))
        with pytest.raises(ConfigError, match=r"x\.toml: it is not UTF-8 text .*; save it as UTF-8"):
            load(tmp_path / "x.toml")


def test_a_password_is_never_shown():
    with pytest.raises(ConfigError) as caught:
        from_string('[ledger]\nurl = "postgres secret-password"\n')
    assert "secret-password" not in str(caught.value)


def test_a_step_that_dense_scoring_cannot_take_is_refused_unless_exact(tmp_path):
    with pytest.raises(
        ConfigError, match=r"work\.step: step is 50 pixels; dense scoring takes multiples of 16 such as 48"
    ):
        from_string("[work]\nstep = 50\n", home=tmp_path)
    assert from_string('[work]\nmode = "exact"\nstep = 50\n', home=tmp_path).work.step == 50


def test_names_of_the_vendors_tables_are_checked():
    with pytest.raises(ConfigError) as caught:
        from_string(
            """
            [imager]
            owner = "CRYSTAL; DROP"
            write_url = "oracle://writer@host/x"
            [imager.tables]
            score = "LAB_SCORES"
            images = "I_INSPECTIONS"
            [imager.columns.scores]
            scored_by = "WHO"
            score = "SCORE DATE"
            """
        )
    message = str(caught.value)
    assert "imager.owner: " in message
    assert "imager.tables: unknown table 'score'; did you mean scores?" in message
    assert "imager.tables: 'I_INSPECTIONS' is used twice" in message
    assert "imager.write_url: needs imager.url, which is not set" in message
    assert "imager.columns" in message
    with pytest.raises(ConfigError) as caught:
        from_string(
            """
            [imager.columns.scores]
            scored_by = "WHO"
            score = "SCOREDATE"
            [imager.columns.wells]
            """
        )
    message = str(caught.value)
    assert "imager.columns.scores: unknown column 'scored_by'; did you mean scoredby?" in message
    assert "imager.columns.scores: 'SCOREDATE' is used twice" in message
    assert "imager.columns: unknown table 'wells'" in message


@pytest.mark.parametrize(
    ("by", "code", "persons"),
    [
        ("jdoe", "13", True),
        ("", "13", True),
        ("jdoe", "20", False),  # not scored
        ("AutoRank", "13", False),
        ("ARTscore", "13", False),
    ],
)
def test_what_is_a_person_s_score(by, code, persons):
    imager = from_string('[imager]\nautomatic = ["AutoRank"]\n').imager
    assert imager.is_persons(by, code) == persons
    assert imager.programs == ("ARTscore", "AutoRank")


@pytest.mark.parametrize(
    ("local", "utc"),
    [  # Zurich: an hour ahead in winter, two in summer; clocks went back on 2026-10-25 at 01:00 UTC
        (datetime(2026, 1, 15, 12), datetime(2026, 1, 15, 11)),
        (datetime(2026, 7, 1, 0, 30), datetime(2026, 6, 30, 22, 30)),
        (datetime(2026, 10, 25, 3), datetime(2026, 10, 25, 2)),
    ],
)
def test_the_imager_s_local_dates(local, utc):
    imager = from_string('[imager]\ntime_zone = "Europe/Zurich"\n').imager
    assert imager.utc(local) == utc
    assert imager.local(utc.replace(tzinfo=UTC).timestamp() + 0.9) == local


def test_a_home_whose_databases_would_lie_elsewhere_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="question mark; choose another folder"):
        from_string("", home=tmp_path / "really?" / "home")
    from_string("", home=tmp_path / "100% #1 ü")


@pytest.mark.parametrize(
    ("zone", "date"),
    [("Europe/Zurich", datetime(1, 1, 1)), ("America/Denver", datetime(9999, 12, 31, 23, 59))],
)
def test_the_first_and_the_last_date_there_are(zone, date):
    assert from_string(f'[imager]\ntime_zone = "{zone}"\n').imager.utc(date) == date


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[imager]\ntime_zone = "Europe"\n', "imager.time_zone: unknown zone 'Europe'"),  # a folder of zones
        ('home = ""\n', "home: expected a folder"),  # it was the folder in which a command happened to run
        ('home = " "\n', "home: expected a folder"),
    ],
)
def test_what_would_be_another_folder_or_no_zone_is_refused(text, said, monkeypatch):
    monkeypatch.delenv("XTALGRID_HOME", raising=False)
    with pytest.raises(ConfigError, match=re.escape(said)):
        from_string(text)


def test_a_relative_path_starts_at_the_file_that_has_it(tmp_path, monkeypatch):
    """A service runs at the root, a person anywhere: both must find the same plates, databases and passwords."""
    (tmp_path / "lab").mkdir()
    file = tmp_path / "lab" / "xtalgrid.toml"
    file.write_text(
        """
home = "data"
[imager]
url = "sqlite:///imager.db"
write_url = "sqlite+pysqlite:////srv/imager.db"
password_file = "../secret"
image_root = "~/plates"
linked_folders = ["store", "/mnt/store"]
[imager.ispyb.paths]
"/dls" = "dls"
[ledger]
url = "sqlite:///:memory:"
[publish]
frames_dir = ""
[[webhooks.hooks]]
name = "team"
kind = "slack"
url_file = "hook"
"""
    )
    monkeypatch.chdir(tmp_path / "lab")
    at_home = load(Path("xtalgrid.toml"))
    monkeypatch.chdir("/")
    config = load(file)
    assert config.home == at_home.home == tmp_path / "lab" / "data"
    assert config.imager.url == at_home.imager.url == f"sqlite:///{tmp_path}/lab/imager.db"
    assert config.imager.write_url == "sqlite+pysqlite:////srv/imager.db"
    assert Path(config.imager.password_file).resolve() == tmp_path / "secret"
    assert config.image_root == Path("~/plates").expanduser()
    assert config.imager.linked_folders == (f"{tmp_path}/lab/store", "/mnt/store")
    assert config.imager.ispyb.paths == {"/dls": f"{tmp_path}/lab/dls"}
    assert (config.ledger.url, config.publish.frames_dir) == ("sqlite:///:memory:", "")
    assert config.webhooks.hooks[0].url_file == f"{tmp_path}/lab/hook"
    assert load(file, home=Path("here")).home == Path("/here")  # as on the command line


@pytest.mark.parametrize("text", ["imager = 3", "[imager]\nlinked_folders = 3", "[webhooks]\nhooks = [3]", "home = 3"])
def test_what_is_no_path_is_named_as_before(tmp_path, text):
    file = tmp_path / "xtalgrid.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="1 error"):
        load(file)

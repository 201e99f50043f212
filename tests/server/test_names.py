from datetime import datetime

import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_server.imager.names import NamedImage, barcode_of_folder, compile_pattern, read_name
from xtalgrid_server.wells import Well, row_letters

RIGAKU = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_04_02_03_HF_99_030_001_RDI"


def test_rigakus_18_fields():
    assert read_name(compile_pattern("rigaku"), RIGAKU, "3") == NamedImage(
        "CI022987", 3, Well(row=2, col=4, subwell=3), datetime(2012, 11, 21)
    )


@pytest.mark.parametrize(
    "stem", ["photo", RIGAKU + "_ART", RIGAKU.replace("_121121_", "_129999_"), RIGAKU.replace("_04_02_", "_00_02_")]
)
def test_what_is_no_such_name_does_not_fit(stem):
    assert read_name(compile_pattern("rigaku"), stem, "3") is None


def test_a_labs_own_pattern_takes_letters_and_defaults():
    pattern = compile_pattern(r"(?P<date>\d{8})-(?P<row>[A-H])(?P<column>\d+)")
    assert read_name(pattern, "20240229-C11", "my plate 7") == NamedImage(
        "my-plate-7", 1, Well(3, 11, 1), datetime(2024, 2, 29)
    )


@pytest.mark.parametrize("names", ["(", r"(?P<row>.)", r"(?P<row>.)(?P<column>.)(?P<colour>.)"])
def test_a_pattern_that_cannot_work_is_refused(names):
    with pytest.raises(ConfigError, match=r"import\.names"):
        compile_pattern(names)


def test_well_names():
    assert str(Well(1, 1, 1)) == "A1a"
    assert str(Well(8, 12, 4)) == "H12d"
    assert [row_letters(row) for row in (26, 27, 32)] == ["Z", "AA", "AF"]
    assert barcode_of_folder("///") == "plate"

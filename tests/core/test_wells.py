"""Names of wells."""

from __future__ import annotations

import pytest

from xtalgrid_core.wells import row_letters, row_number, well_name


@pytest.mark.parametrize(
    ("row", "letters"),
    [(1, "A"), (3, "C"), (8, "H"), (16, "P"), (26, "Z"), (27, "AA"), (32, "AF"), (52, "AZ"), (53, "BA"), (702, "ZZ")],
)
def test_rows_are_lettered_as_on_plates_of_96_to_1536_wells(row: int, letters: str) -> None:
    assert row_letters(row) == letters
    assert row_number(letters) == row_number(letters.lower()) == row


@pytest.mark.parametrize("letters", ["", "1", "A1", "Ä", "A B"])
def test_invalid_rows_are_rejected(letters: str) -> None:
    with pytest.raises(ValueError, match="is not a row"):
        row_number(letters)


def test_names_of_wells() -> None:
    assert [well_name(1, 1, 1), well_name(8, 12, 4), well_name(32, 48, 26)] == ["A1a", "H12d", "AF48z"]
    assert [well_name(1, 1, 30), well_name(1, 1, 0), well_name(0, 2, 1)] == ["A1.30", "A1.0", "R0C2a"]

"""Conditions as the makers of screens, databases and people write them.

Most texts are in the manner of Hampton Research, Molecular Dimensions, Qiagen/NeXtal, Rigaku and REMARK 280 of the PDB,
written by hand; those in `PUBLISHED` are from methods sections of papers, with what a person reads in them.
"""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, strategies

from xtalgrid_server.domain.conditions import read_condition

READ = {
    # Hampton Research
    "0.02 M Calcium chloride dihydrate, 0.1 M Sodium acetate trihydrate pH 4.6, 30% v/v (+/-)-2-Methyl-2,4-pentanediol": [
        "0.02 M calcium chloride",
        "0.1 M sodium acetate pH 4.6",
        "30 % v/v MPD",
    ],
    "0.2 M Ammonium acetate 0.1 M BIS-TRIS pH 5.5 25% w/v Polyethylene glycol 3,350": [
        "0.2 M ammonium acetate",
        "0.1 M Bis-Tris pH 5.5",
        "25 % w/v PEG 3350",
    ],
    "2.0 M Sodium chloride\n10% w/v Polyethylene glycol 6,000": ["2 M sodium chloride", "10 % w/v PEG 6000"],
    "0.1 M Tris hydrochloride pH 8.5, 20% v/v Jeffamine M-600": [
        "0.1 M Tris hydrochloride pH 8.5",
        "20 % v/v Jeffamine M-600",
    ],
    "0.1 M HEPES pH 7.5, 25% w/v Polyethylene glycol monomethyl ether 2,000": [
        "0.1 M HEPES pH 7.5",
        "25 % w/v PEG MME 2000",
    ],
    "0.8 M Sodium phosphate monobasic monohydrate, 0.8 M Potassium phosphate dibasic / pH 7.5": [
        "0.8 M sodium phosphate monobasic",
        "0.8 M potassium phosphate dibasic",
    ],
    "35% v/v Tacsimate pH 7.0": ["35 % v/v tacsimate pH 7"],
    "0.2 M Magnesium formate dihydrate": ["0.2 M magnesium formate"],
    # Molecular Dimensions
    "0.2 M Lithium sulfate; 0.1 M Sodium acetate; pH 4.5; 50 % v/v PEG 400": [
        "0.2 M lithium sulfate",
        "0.1 M sodium acetate",
        "50 % v/v PEG 400",
    ],
    "0.06 M Divalents, 0.1 M Buffer System 1 6.5, 30 % v/v Precipitant Mix 1": [
        "0.06 M divalents",
        "0.1 M Buffer System 1 pH 6.5",
        "30 % v/v Precipitant Mix 1",
    ],
    "0.1 M SPG 4.0, 25 % w/v PEG 1500": ["0.1 M SPG pH 4", "25 % w/v PEG 1500"],
    "0.2M NaCl 0.1M Bis-Tris 5.5 25% w/v PEG 3350": [
        "0.2 M sodium chloride",
        "0.1 M Bis-Tris pH 5.5",
        "25 % w/v PEG 3350",
    ],
    # Qiagen, Rigaku
    "0.2 M Calcium chloride, 0.1 M HEPES sodium salt pH 7.5, 28 %(v/v) PEG 400": [
        "0.2 M calcium chloride",
        "0.1 M HEPES sodium salt pH 7.5",
        "28 % v/v PEG 400",
    ],
    "20% (w/v) PEG-8000, 100 mM CHES/ Sodium hydroxide pH 9.5": [
        "20 % w/v PEG 8000",
        "100 mM CHES/ Sodium hydroxide pH 9.5",
    ],
    "35% (v/v) 2-propanol; 100 mM imidazole/ Hydrochloric acid pH 8.0; 200 mM zinc acetate": [
        "35 % v/v 2-propanol",
        "100 mM imidazole/ Hydrochloric acid pH 8",
        "200 mM zinc acetate",
    ],
    # entries of the PDB, and people
    "25% PEG3350, 0.2M LI2SO4, 0.1M BIS-TRIS PH 5.5": [
        "25 % PEG 3350",
        "0.2 M lithium sulfate",
        "0.1 M Bis-Tris pH 5.5",
    ],
    "100mM MES pH6.5,12% PEG 20K": ["100 mM MES pH 6.5", "12 % PEG 20000"],
    "0,1 M HEPES pH 7,5; 20 % PEG 4K": ["0.1 M HEPES pH 7.5", "20 % PEG 4000"],
    "PEG 8000 20 % w/v, HEPES 0.1 M pH 7.5": ["20 % w/v PEG 8000", "0.1 M HEPES pH 7.5"],
    "18-20% PEG 5000 MME": [],
    "15% mPEG 2K and 50 uM zinc chloride": ["15 % PEG MME 2000", "50 µM zinc chloride"],
    "35% saturated ammonium sulphate, 5 mM DTT": ["35 % sat. ammonium sulfate", "5 mM DTT"],
    "1.6 M (NH4)2SO4 + 0.1 M Tris-HCl (pH 8.5)": ["1.6 M ammonium sulfate", "0.1 M Tris-HCl pH 8.5"],
    # the demo's, and those that files of other programs are read as
    "0.1 M Bis-Tris pH 6.5, 20 % PEG 3350, 0.2 M NaCl": [
        "0.1 M Bis-Tris pH 6.5",
        "20 % PEG 3350",
        "0.2 M sodium chloride",
    ],
    "2.0 M ammonium sulfate": ["2 M ammonium sulfate"],
    "": [],
    "None": [],
}


@pytest.mark.parametrize("text", READ, ids=lambda text: text[:40])
def test_components(text):
    assert [each.text for each in read_condition(text).components] == READ[text]


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        (
            "VAPOR DIFFUSION, HANGING DROP, 20% PEG 4000, TEMPERATURE 293K",
            ("VAPOR DIFFUSION", "HANGING DROP", "TEMPERATURE 293K"),
        ),
        ("18-20% PEG 5000 MME", ("18-20% PEG 5000 MME",)),
        ("Morpheus A1", ("Morpheus A1",)),
        ("0.1 M", ("0.1 M",)),
        ("0.1 M HEPES pH 75", ("0.1 M HEPES pH 75",)),
    ],
)
def test_what_cannot_be_read_is_said(text, unread):
    assert read_condition(text).unread == unread


PIECES = [
    *("0.1", "25", " ", ",", ";", "M", "mM", "% w/v", "%", "pH", "7.5", "PEG", "3,350", "HEPES", "(", ")", "and", "/"),
    *("x" * 40, " " * 200, "9" * 400, "\u0663", "µ", "sat.", "\n", "-", "+"),
]


@given(strategies.lists(strategies.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_is_read_at_once_and_its_components_are_read_again_the_same(text):
    began = time.process_time()
    components = read_condition(text[:1000]).components
    assert time.process_time() - began < 0.5
    for each in components:
        assert math.isfinite(each.concentration) and (each.ph is None or 0 < each.ph <= 14)


@pytest.mark.parametrize("text", READ, ids=lambda text: text[:40])
def test_components_as_they_are_written_are_read_again(text):
    """A grid's conditions come back by `xtalgrid layout`."""
    components = read_condition(text).components
    assert read_condition(", ".join(each.text for each in components)).components == components


@pytest.mark.parametrize(
    ("text", "ph"),
    [
        ("0.2 M Lithium sulfate; 0.1 M Sodium acetate; pH 4.5; 50 % v/v PEG 400", 4.5),
        ("0.1 M HEPES, 20% PEG 3350, pH 7.5", 7.5),
        ("0.8 M Sodium phosphate monobasic monohydrate, 0.8 M Potassium phosphate dibasic / pH 7.5", 7.5),
        ("0.1 M MES pH 6.5, 0.1 M HEPES pH 7.5", None),
        ("20% PEG 3350", None),
    ],
)
def test_the_ph(text, ph):
    assert read_condition(text).ph == ph


@pytest.mark.parametrize(
    ("text", "precipitant"),
    [
        ("0.2 M ammonium sulfate, 0.1 M HEPES pH 7.5, 25 % w/v PEG 3350", "PEG 3350"),
        ("2 % v/v PEG 400, 2.0 M ammonium sulfate, 0.1 M HEPES pH 7.5", "ammonium sulfate"),
        ("1.5 M ammonium sulfate, 12 % v/v glycerol, 0.1 M Tris pH 8.5", "ammonium sulfate"),
        ("0.2 M magnesium formate", "magnesium formate"),
        ("1.4 M sodium citrate, 0.1 M HEPES pH 7.5", "sodium citrate"),
        ("0.1 M sodium citrate pH 5.6, 20 % 2-propanol, 20 % PEG 4000", "2-propanol"),
        ("35% v/v Tacsimate pH 7.0", "tacsimate"),
        ("2.4 M Sodium malonate pH 7.0", "sodium malonate"),
        (
            "5% v/v Tacsimate pH 7.0, 0.1 M HEPES pH 7.0, 10% w/v Polyethylene glycol monomethyl ether 5,000",
            "PEG MME 5000",
        ),
        ("0.1 M HEPES pH 7.5", None),
        ("0.2 M NaCl, 0.1 M MES pH 6.5, 0.01 M ZnCl2", None),
        ("0.2 M NaCl, a secret mix", None),
    ],
)
def test_the_precipitant(text, precipitant):
    found = read_condition(text).precipitant
    assert (found.name if found else None) == precipitant


PUBLISHED = {
    "0.1 M sodium malonate pH 7.0, 12% w/v polyethylene glycol 3350": (7.0, [0.1, 12]),
    "0.1 M Tris 8.0, 8% w/v PEG8000": (8.0, [0.1, 8]),
    "0.1M sodium malonate (pH 6.25) and 10% w/v Polyethylene glycol 3350": (6.25, [0.1, 10]),
    "0.1 M HEPES sodium pH 7.5, 1.5 M lithium sulfate monohydrate": (7.5, [0.1, 1.5]),
    "0.2 M ammonium acetate, 0.1 M BIS-TRIS pH 5.5, 25% w/v Polyethylene glycol 3350": (5.5, [0.2, 0.1, 25]),
    "0.1 M Magnesium formate dihydrate, 15% w/v Polyethylene glycol 3350": (None, [0.1, 15]),
    "20% (w/v) PEG 8000, 0.1 M Tris base/Hydrochloric acid pH 8.5, 0.1 M Magnesium chloride, and 20% (v/v) PEG 400": (
        8.5,
        [20, 0.1, 0.1, 20],
    ),
}


@pytest.mark.parametrize("text", PUBLISHED)
def test_conditions_of_papers(text):
    read = read_condition(text)
    assert (read.ph, [each.concentration for each in read.components]) == PUBLISHED[text]
    assert not read.unread


def test_a_range_is_not_taken_for_a_number():
    read = read_condition("8–15% w/v Polyethylene Glycol 3350 and 0.2 M lithium citrate pH 5.5")
    assert (read.unread, len(read.components)) == (("8–15% w/v Polyethylene Glycol 3350",), 1)

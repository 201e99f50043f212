import re

import pytest

from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, PRIORITY, SCORED_GROUPS, STYLES, Group, Outcome, published

TABLE_1 = [  # Thielmann et al. (2023), Table 1, ranked from high to low in priority
    ("Crystals harvestable", 23),
    ("Crystals bad form", 22),
    ("Crystals overnucleated", 21),
    ("Precipitate", 13),
    ("Precipitate bad", 12),
    ("Precipitate good", 11),
    ("Null experiment", 34),
    ("Other", 33),
    ("Spherulites", 32),
    ("Phase separation", 31),
    ("Clear", 1),
    ("Clear with other features", 2),
    ("Rim", 1),
]


def test_the_classes_are_those_of_table_1_in_its_order():
    assert [(outcome.value, outcome.style.score) for outcome in CLASSES] == [(n.lower(), s) for n, s in TABLE_1]


def test_table_1_as_printed_in_the_paper(shared):
    text = (shared / "papers/crystal_search_2023.txt").read_text()
    rows = re.findall(r"^([A-Z][a-z ]+)\t(\d+)\t", text, flags=re.M)
    assert [(name, int(score)) for name, score in rows][: len(TABLE_1)] == TABLE_1


def test_priority_is_the_place_among_the_classes():
    assert PRIORITY[Outcome.HARVESTABLE] == 0
    assert PRIORITY[Outcome.PRECIPITATE_GOOD] < PRIORITY[Outcome.NULL_EXPERIMENT] < PRIORITY[Outcome.CLEAR]


def test_each_class_belongs_to_one_group_and_groups_follow_each_other():
    members = [index for group in SCORED_GROUPS for index in GROUP_CLASSES[group]]
    assert members == list(range(13))
    assert GROUP_CLASSES[Group.CRYSTAL] == (0, 1, 2)
    assert GROUP_CLASSES[Group.CLEAR] == (10, 11, 12)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.HARVESTABLE, "23"),
        (Outcome.CLEAR, "01"),
        (Outcome.CLEAR_WITH_FEATURES, "02"),
        (Outcome.UNDECIDED, None),
    ],
)
def test_codes_of_the_score_table_have_two_characters(outcome, code):
    assert outcome.code == code


def test_rim_is_published_as_clear_and_nothing_else_changes():
    assert published(Outcome.RIM) is Outcome.CLEAR
    assert [published(outcome) for outcome in Outcome if outcome is not Outcome.RIM] == [
        outcome for outcome in Outcome if outcome is not Outcome.RIM
    ]


def test_frames_of_two_groups_differ_in_colour_and_in_line_style():
    crystal, precipitate, other, clear = (STYLES[CLASSES[GROUP_CLASSES[group][0]]] for group in SCORED_GROUPS)
    assert len({look.colour for look in (crystal, precipitate, other, clear)}) == 4
    assert len({look.dash for look in (crystal, precipitate, other, clear)}) == 4


def test_each_outcome_has_its_own_letter():
    assert len({outcome.style.letter for outcome in Outcome}) == len(Outcome)

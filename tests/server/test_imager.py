from datetime import datetime, timedelta

from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak import database as imager_database
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase, like_pattern

from .conftest import INSPECTED


def rows(number, name="x_HF_99_y{}.jpg", start=INSPECTED):
    return [ImageRow(0, "P1", n, start + timedelta(minutes=n), Well(1, 1, 1), name.format(n)) for n in range(number)]


def test_wildcards_are_ours_and_underscores_are_letters():
    assert like_pattern("*_HF_99_?%") == r"%\_HF\_99\__\%"


def test_only_names_of_the_configured_type_are_found(tmp_path):
    database = ImagerDatabase(from_string('[imager]\npatterns = ["*_HF_99_*"]\n', home=tmp_path))
    database.register(rows(1) + rows(1, "xHFx99xy{}.jpg") + rows(1, "x_HF_99_y{}_ART.jpg"))
    found = [row.image_name for group in database.newest_first(None, None) for row in group]
    database.close()
    assert found == ["x_HF_99_y0.jpg"]


def test_pages_lose_and_double_nothing(system, monkeypatch):
    monkeypatch.setattr(imager_database, "_PAGE", 5)
    entered = system.imager.register(rows(12) + rows(12, "z{}.jpg"))
    groups = list(system.imager.newest_first(None, None))
    assert [len(group) for group in groups] == [2] * 12
    assert [group[0].inspection for group in groups] == list(range(11, -1, -1))
    after, before = entered[3].moment, entered[8].moment
    assert [g[0].inspection for g in system.imager.newest_first(after, before)] == [7, 6, 5, 4]


def test_a_drops_scores_are_those_of_all_its_inspections(system, person):
    first, second = system.imager.register(rows(2))
    (other,) = system.imager.register([ImageRow(0, "P1", 0, INSPECTED, Well(2, 1, 1), "b.jpg")])
    person(first.inspect_id, "23", datetime(2012, 12, 1))
    person(other.inspect_id, "13", datetime(2012, 12, 1))
    found = system.imager.scores_of_drops([second.inspect_id, other.inspect_id])
    assert [score.code for score in found[second.inspect_id]] == ["23"]
    assert [score.code for score in found[other.inspect_id]] == ["13"]

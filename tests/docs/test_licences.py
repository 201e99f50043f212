"""Nothing ships under terms that a lab or a volunteer would have to think about, without a word on it."""

import sys
from importlib import metadata
from pathlib import PurePosixPath

import pytest


def test_whatever_is_not_permissive_is_named_with_a_reason():
    from reference.licences import FROZEN, REASONS, is_permissive, licence, locked

    shipped = locked("server").keys() | FROZEN
    assert len(shipped) > 40
    assert {name for name in shipped if not is_permissive(licence(name))} == set(REASONS)


@pytest.mark.parametrize(
    ("terms", "is_one"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-3-Clause", True),
        ("GPLv2-or-later with a special exception", False),
        ("LGPL-3.0-only", False),
        ("AGPL-3.0", False),
        ("MPL-2.0 AND MIT", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("GNU Affero General Public License", False),
    ],
)
def test_terms_that_ask_for_more_than_their_notice(terms, is_one):
    from reference.licences import is_permissive

    assert is_permissive(terms) is is_one


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at the wheels for Linux")
def test_every_library_inside_a_wheel_has_a_licence():
    from reference.licences import LIBRARIES, locked

    unknown = []
    for name in locked("server"):
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:  # for another system
            continue
        for path in map(PurePosixPath, files):
            is_library = path.parts[0].endswith(".libs") and ".so" in path.name
            if is_library and not path.name.startswith(tuple(LIBRARIES.get(name, ()))):
                unknown.append((name, path.name))
    assert not unknown

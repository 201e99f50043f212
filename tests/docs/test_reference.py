"""docs/reference/ is what the code says, and the code says something of everything in it."""

import json
import re

import click
import msgspec
import pytest
from click.testing import CliRunner

from tests.server.conftest import answer, result_of
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Outcome

from .pages import ROOT, blocks, prose


def test_the_reference_is_up_to_date(capsys):
    from make_reference import main

    assert main(check=True) == 0, capsys.readouterr().out


def test_every_command_and_every_option_explains_itself():
    from reference.commands import commands

    silent = [name for name, command in commands() if len(command.help or "") < 15]
    silent += [
        f"{name} {option.opts[0]}"
        for name, command in commands()
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert not silent


def test_every_command_is_found_by_both_spellings_and_has_one_name():
    from reference.commands import PROGRAMS, commands

    mixed = 0
    for name, expected in commands():
        program, *words = name.split()
        for spelling in ("_", "-"):
            group, typed = PROGRAMS[program], [re.sub("[_-]", spelling, word) for word in words]
            for word, other in zip(words, typed, strict=True):
                found, group, _ = group.resolve_command(click.Context(group), [other])
                assert found == word
                mixed += word != other
            assert group is expected
    assert mixed > 10
    shown = CliRunner().invoke(PROGRAMS["xtalgrid"], ["create-work", "--help"], prog_name="xtalgrid").stdout
    assert shown.startswith("Usage: xtalgrid create_work [OPTIONS]")
    unknown = CliRunner().invoke(PROGRAMS["xtalgrid"], ["create-wrok"])
    assert (unknown.exit_code, "No such command 'create-wrok'" in unknown.stderr) == (2, True)


def test_every_configuration_key_is_explained_and_stands_in_a_page_that_says_what_it_is_for():
    from reference.configuration import keys

    topics = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guides").glob("*.md")]
    told = {
        word for page in topics for code in re.findall(r"`([^`\n]+)`", prose(page)) for word in re.findall(r"\w+", code)
    }
    told |= {word for page in topics for block in blocks(page) for word in re.findall(r"\w+", block.text)}
    assert not [f"{section}.{key}" for section, key, explanation in keys() if not explanation]
    assert not [f"{section}.{key}" for section, key, _ in keys() if key.rpartition(".")[2] not in told]


def test_every_table_of_the_ledger_says_what_it_holds():
    from reference.ledger import documented

    assert not [name for name, said in documented().items() if not said]


def test_every_module_says_what_it_is_and_every_package_has_its_place():
    from reference.modules import PACKAGES, modules

    found = list(modules())
    assert not [str(file) for file, said in found if not said]
    assert {file.parent.relative_to(ROOT).as_posix() for file, _ in found} == set(PACKAGES)


OPTIONS = wire.Options(segmenter="a" * 64, classifier="b" * 64)
ENTRIES = tuple(
    wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=7 + n, sha256="c" * 64, pixel_size_um=1.13)
    for n in range(3)
)
MANIFEST = wire.Manifest(schema=1, unit="xg_1", min_worker="0.1.0", options=OPTIONS, images=ENTRIES)
RESULT = result_of(
    MANIFEST,
    [
        answer(0, Outcome.HARVESTABLE),
        answer(1, Outcome.NULL_EXPERIMENT),
        wire.Failed(number=2, reason=FailureReason.TRUNCATED, detail="ends early"),
    ],
)


def committed(name):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is in the extra dev")
    schema = json.loads((ROOT / "docs" / "reference" / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(("name", "message"), [("manifest", MANIFEST), ("result", RESULT)])
def test_what_is_sent_fits_its_schema(name, message):
    committed(name).validate(json.loads(wire.encode(message)))


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["images"][0].update(probability=1.5),
        lambda r: r["images"][0].update(status="maybe"),
        lambda r: r["images"][2].update(reason="no idea"),
        lambda r: r.update(unit="../x"),
        lambda r: r.pop("classifier"),
    ],
)
def test_what_the_reader_refuses_does_not_fit_its_schema_either(change):
    result = json.loads(wire.encode(RESULT))
    change(result)
    assert not committed("result").is_valid(result)
    with pytest.raises(wire.ResultError):
        wire.decode_result(msgspec.json.encode(result))

"""The figures in pages: every count, share and time comes from ``docs/evaluation/``.

A page holds a figure between two comments, ``<!--=test.crystals_found-->315 of 341<!--/-->``, and a table in the same
way with blank lines inside. ``docs/evaluation/README.md`` says which names there are.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .text import ROOT, table

FOLDER = ROOT / "docs" / "evaluation"
SOURCES = {
    "plate_ci022987": ("plate", "plate CI022987 (Minstrel, real, no crystals)"),
    "plate_empty": ("empty", "empty plate (Rock Imager, real; null experiments)"),
    "rendered: test": ("test", "rendered, 16 test plates"),
}
"""Short names and titles of sources in `report.json`, in lower case; those of single wells come together, as `wells`."""

GROUPS = ("crystal", "precipitate", "other", "clear")
FIGURE = re.compile(r"(?P<head><!--=(?P<name>[^>]+)-->)(?P<text>.*?)(?P<tail><!--/-->)", re.DOTALL)
_AT_LINE_START = re.compile(r"^[ >]*(?:[*-] |\d+\. )?<!--=(?!.*-->$)", re.MULTILINE)


def pages() -> list[Path]:
    """Return the pages that may hold figures."""
    folders = (ROOT / "docs", ROOT / "models", ROOT / "worker", ROOT / "docker", ROOT / "scripts")
    found = [*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]
    return sorted(page for page in found if not page.is_relative_to(FOLDER))


def renewed(text: str, known: dict[str, str]) -> str:
    """Put the known figures between a page's comments.

    Raises
    ------
    ValueError
        If a name is not known, or a comment begins a line: Markdown would take the whole line for HTML.
    """
    if begun := _AT_LINE_START.search(text):
        raise ValueError(f"a figure must not begin a line: {text[begun.start() :].splitlines()[0]}")

    def put(figure: re.Match[str]) -> str:
        if figure["name"] not in known:
            raise ValueError(f"no figure is named {figure['name']}")
        return f"{figure['head']}{known[figure['name']]}{figure['tail']}"

    return FIGURE.sub(put, text)


def figures() -> dict[str, str]:
    """Return the text of every figure, by name."""
    report = json.loads((FOLDER / "report.json").read_text(encoding="utf-8"))
    measured = tomllib.loads((FOLDER / "measured.toml").read_text(encoding="utf-8"))
    networks = json.loads((FOLDER / "networks.json").read_text(encoding="utf-8"))
    return {**_of_report(report["sources"]), **_of_measurements(measured), **of_networks(networks)}


def _of_report(sources: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in sources:
        if named := SOURCES.get(source["source"].lower()):
            found |= _of_source(named[0], source)
    single = [source for source in sources if source["source"].startswith(("wells", "more"))]
    found |= {f"wells.{key}": _total(single, key) for key in ("crystals_called", "others_opened", "drops_called_empty")}
    crystals = [source for source in single if source["crystals_called"]["of"]]
    found["wells.crystal_sources"] = str(len(crystals))
    found["table.groups"] = _block(
        table(
            ("source", "sure judgements", "right", "called crystal, of all"),
            [
                (
                    SOURCES.get(source["source"].lower(), ("", source["source"]))[1],
                    _listed(source, lambda share, group: f"{group} {share['of']}"),
                    _listed(source, lambda share, _: str(share["hits"])),
                    _count(source["called_crystal"]),
                )
                for source in sources
                if source["sure"]
            ],
        )
    )
    return found


def _of_source(name: str, source: dict[str, Any]) -> dict[str, str]:
    """Return a source's shares (``test.crystals_found``, with ``.percent`` and ``.interval``), and its few numbers."""
    found: dict[str, str] = {f"{name}.wells": str(source["images"]), f"{name}.sure": str(source["sure"])}
    success = next(iter(source["table3"].values()))
    shares = {key: value for key, value in source.items() if isinstance(value, dict) and "hits" in value}
    shares |= {f"right.{group}": share for group, share in success["groups"].items()}
    shares["right"] = success["weighted_mean"]
    shares |= {f"top{top['n']}.missed": top["missed_crystals"] for top in source["top"]}
    if curve := source["roc"]:
        found[f"{name}.auc"] = f"{curve['auc']:.3f}"
        for percent in (5, 10, 20):
            shares[f"found_at_{percent}"] = _found_at(curve, percent / 100)
    for key, share in shares.items():
        if share["of"]:
            found[f"{name}.{key}"] = _count(share)
            found[f"{name}.{key}.percent"] = f"{100 * share['hits'] / share['of']:.1f} %"
        if share.get("low") is not None:
            interval = f"({100 * share['low']:.1f}–{100 * share['high']:.1f})"
            found[f"{name}.{key}.interval"] = f"{found[f'{name}.{key}.percent']} {interval}"
    if source["reliability"]:
        found[f"{name}.ece"] = f"{source['reliability']['ece']:.3f}"
    for key, value in (source["outlines"] or {}).items():
        found[f"{name}.outlines.{key}"] = f"{value:.3f}" if isinstance(value, float) else str(value)
    rows = source["groups"]
    for group, counts in zip(rows["rows"], rows["counts"], strict=True):
        found |= {f"{name}.{group}_called_{c}": str(n) for c, n in zip(rows["columns"], counts, strict=True)}
    return found


def _of_measurements(measured: dict[str, Any]) -> dict[str, str]:
    """Return a table as ``table.NAME``, its cells as ``NAME.ROW.COLUMN``, and single values as ``NAME``."""
    found: dict[str, str] = {}
    for name, entry in measured.items():
        if "value" in entry:
            found[name] = entry["value"]
            continue
        columns, rows = entry["columns"], entry["rows"]
        found[f"table.{name}"] = _block(table(columns, rows))
        for row in rows:
            found |= {f"{name}.{row[0]}.{column}": cell for column, cell in zip(columns[1:], row[1:], strict=True)}
    return found


def of_networks(networks: dict[str, Any]) -> dict[str, str]:
    """Return the tables of the papers' networks that are judged, and the names of those that are not."""
    rows = [row for row in networks["rows"] if row["trained"]]
    groups = [f"{group}, %" for group in GROUPS]
    return {
        "networks.open": "; ".join(row["name"] for row in networks["rows"] if not row["trained"]) or "none",
        "table.networks_sets": _block(
            table(
                ("set", "chops", "SHA-256"),
                [(name, f"{s['chops']:,}", f"`{s['sha256'][:16]}…`") for name, s in networks["sets"].items()],
            )
        ),
        "table.networks_chops": _network_table(
            rows,
            ("start", "MB", "CPU min", "epochs", "min an epoch", *(f"{p}: {f}" for p in _PARTS for f in _FIGURES)),
            _chop_cells,
        ),
        "table.networks_published": _network_table(
            rows,
            (*groups, "weighted mean, %", "with c = 0.80, %"),
            lambda row: _success_cells(row, "c = 0.85", "c = 0.80"),
        ),
        "table.networks_pooled": _network_table(
            rows, (*groups, "weighted mean, %"), lambda row: _success_cells(row, "pooled")
        ),
    }


_PARTS = {"training": "training", "validation": "held out"}
_FIGURES = ("accuracy, %", "top-5, %", "loss")


def _network_table(rows: list[dict[str, Any]], columns: tuple[str, ...], cells: Callable[..., list[str]]) -> str:
    return _block(table(("network", *columns), [(row["name"], *cells(row)) for row in rows]))


def _chop_cells(row: dict[str, Any]) -> list[str]:
    """Return a row of Table 2."""
    run = row["trained"]
    parts = [row["chops"][part] for part in _PARTS.values()]
    return [
        row["start"],
        f"{row['size_mb']:.1f}",
        f"{run['seconds'] / 60:.0f}",
        f"{run['epochs']:.2f}",
        f"{run['seconds_an_epoch'] / 60:.1f}",
        *(
            text
            for part in parts
            for text in (_percent(part["accuracy"]), _percent(part["top5"]), f"{part['loss']:.2f}")
        ),
    ]


def _success_cells(row: dict[str, Any], rule: str, *others: str) -> list[str]:
    """Return a row of Table 3 under a rule, and the weighted means under others."""
    success = row["success"][rule]
    shares = [*(success["groups"][group] for group in GROUPS), success["weighted_mean"]]
    return [_percent(share) for share in shares] + [_percent(row["success"][o]["weighted_mean"]) for o in others]


def _percent(share: dict[str, Any]) -> str:
    return f"{100 * share['rate']:.1f}" if share["of"] else "–"


def _found_at(curve: dict[str, Any], opened: float) -> dict[str, int]:
    """Return the crystals found with at most this fraction of the other wells opened, as the report counts them."""
    reached = max(f for o, f in zip(curve["others_opened"], curve["found"], strict=True) if o <= opened + 1e-12)
    return {"hits": round(reached * curve["crystals"]), "of": curve["crystals"]}


def _total(sources: list[dict[str, Any]], key: str) -> str:
    return _count({part: sum(source[key][part] for source in sources) for part in ("hits", "of")})


def _count(share: dict[str, Any]) -> str:
    return f"{share['hits']:,} of {share['of']:,}"


def _listed(source: dict[str, Any], cell: Any) -> str:
    groups = next(iter(source["table3"].values()))["groups"]
    return ", ".join(cell(groups[group], group) for group in GROUPS if groups[group]["of"])


def _block(lines: str) -> str:
    return f"\n\n{lines}\n\n"


def stale() -> Iterator[tuple[Path, str]]:
    """Yield the pages whose figures differ from the evaluation, with what they should hold."""
    known = figures()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        try:
            made = renewed(text, known)
        except ValueError as error:
            raise ValueError(f"{page.relative_to(ROOT)}: {error}") from error
        if made != text:
            yield page, made

"""What a condition's text says: its components with concentration, unit and pH, as screens' makers write them.

What can't be read stays as text and is said, so that nobody takes a guess for a recipe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Unit = Literal["M", "mM", "µM", "nM", "% w/v", "% v/v", "%", "% sat.", "mg/ml"]


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a condition.

    Attributes
    ----------
    name
        By the name that is usual for it: ``PEG 3350`` for "Polyethylene glycol 3,350".
    concentration
        In `unit`.
    ph
        None without one.
    """

    name: str
    concentration: float
    unit: Unit
    ph: float | None = None

    @property
    def text(self) -> str:
        """The component as people write it: ``0.1 M HEPES pH 7.5``."""
        ph = "" if self.ph is None else f" pH {self.ph:g}"
        return f"{self.concentration:g} {self.unit} {self.name}{ph}"

    @property
    def molar(self) -> float | None:
        """Its concentration in mol/l; None in another unit."""
        factor = _MOLAR.get(self.unit)
        return None if factor is None else self.concentration * factor

    @property
    def is_buffer(self) -> bool:
        """Whether it is there for the pH."""
        return self.ph is not None or buffer_pka(self.name) is not None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition.

    Attributes
    ----------
    components
        In the order of the text.
    ph
        That of its buffer, or one that stands alone; None without one, or if several components have different ones.
    unread
        The parts of the text that can't be read, as they are.
    """

    text: str
    components: tuple[Component, ...]
    ph: float | None
    unread: tuple[str, ...]

    @property
    def precipitant(self) -> Component | None:
        """The component that most likely makes things precipitate; None if none is there in such a concentration.

        It is the strongest, where 10 % and 0.8 M are equally strong, from half of that on; or the only one but buffers.
        """
        if strong := [each for each in self.components if _strength(each) >= 0.5]:
            return max(strong, key=_strength)
        others = [each for each in self.components if not each.is_buffer]
        return others[0] if len(others) == 1 and not self.unread else None


_MOLAR: dict[str, float] = {"M": 1.0, "mM": 1e-3, "µM": 1e-6, "nM": 1e-9}

_NUMBER = r"\d{1,9}(?:[.,]\d{1,9})?"
_UNIT = (
    r"(?:%\s*(?:\(?\s*[wv]\s*[/\\]\s*[wv]\s*\)?|sat(?:uration|urated|\.)?(?=[\s)]|$))?|(?:[wv]/[wv])\s*%"
    r"|[muµμn]?M(?![A-Za-z])|mol/[lL]|mg\s*/\s*m[lL])"
)
_AMOUNT = re.compile(rf"(?<![\w.,(+\-])({_NUMBER})\s*({_UNIT})")
_PH = re.compile(rf"[(/,;\s]*(?:\bat\s+)?\bpH\s*[:=~]?\s*({_NUMBER})\s*\)?", re.IGNORECASE)
_BARE_PH = re.compile(r"\s(1?\d[.,]\d{1,2})$")
_SEPARATOR = re.compile(
    rf"[;\n\r\t|]+|,(?=\s|$)|(?<=\.\d),(?=\d)|(?<=\.\d\d),(?=\d)|(?<=\D),(?={_NUMBER}\s*{_UNIT})|\s[+&]\s|\s/\s|\sand\s"
)
_NAME_FIRST = re.compile(rf"(\D.*?)[\s:]+\(?({_NUMBER})\s*({_UNIT})\)?(?=\s|$|,)(.*)", re.DOTALL)
_NOTHING = re.compile(r"(?:none|water|h2o|no (?:buffer|salt|precipitant|additive)|n/?a|-+|–)?\.?", re.IGNORECASE)


def read_condition(text: str) -> Condition:
    """Read a condition's text."""
    components: list[Component] = []
    alone: list[float] = []
    unread: list[str] = []
    for part in _parts(text):
        for piece in _pieces(part):
            if (ph := _PH.fullmatch(piece)) is not None:
                _give_ph(components, alone, _number(ph[1]))
            elif (component := _component(piece)) is not None:
                components.append(component)
            else:
                unread.append(piece)
    values = {each.ph for each in components if each.ph is not None} | set(alone)
    return Condition(text, tuple(components), values.pop() if len(values) == 1 else None, tuple(unread))


def _parts(text: str) -> Iterator[str]:
    """Split at the separators; a number with a unit may also follow without one, as in Hampton's lists."""
    for part in _SEPARATOR.split(text):
        part = part.strip().strip(",").strip()
        if part and not _NOTHING.fullmatch(part):
            yield part


def _pieces(part: str) -> Iterator[str]:
    starts = [match.start() for match in _AMOUNT.finditer(part)]
    if not starts or starts[0] > 0:  # a name comes first
        yield part
        return
    for start, end in zip(starts, [*starts[1:], len(part)], strict=True):
        yield part[start:end].strip(" ,;+&")


def _component(piece: str) -> Component | None:
    amount = _AMOUNT.match(piece)
    if amount:
        number, unit, name = amount[1], amount[2], piece[amount.end() :]
    elif named := _NAME_FIRST.fullmatch(piece):
        number, unit, name = named[2], named[3], named[1] + " " + named[4]
    else:
        return None
    ph = None
    if found := _PH.search(name):
        ph, name = _number(found[1]), name[: found.start()] + " " + name[found.end() :]
    elif (found := _BARE_PH.search(name)) and 2 <= _number(found[1]) <= 13:
        ph, name = _number(found[1]), name[: found.start()]
    name = name_of(name)
    if not re.search(r"[A-Za-z]", name) or not (ph is None or 0 < ph <= 14):
        return None
    return Component(name, _number(number), _unit(unit, name), ph)


def _give_ph(components: list[Component], alone: list[float], ph: float) -> None:
    """Give a pH that stands alone to the buffer before it, or to the only component."""
    without = [n for n, each in enumerate(components) if each.ph is None]
    buffers = [n for n in without if components[n].is_buffer]
    if buffers or (without and without[-1] == len(components) - 1 and len(components) == 1):
        at = (buffers or without)[-1]
        components[at] = replace(components[at], ph=ph)
    else:
        alone.append(ph)


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _unit(text: str, name: str) -> Unit:
    plain = re.sub(r"[\s()]", "", text).replace("\\", "/").replace("u", "µ").replace("μ", "µ")
    if "sat" in plain.lower():
        return "% sat."
    if "%" in plain:
        kind = plain.replace("%", "").lower()
        if not kind and re.match(r"sat(urat(ed|ion)|\.)?\b", name, re.IGNORECASE):
            return "% sat."
        return {"w/v": "% w/v", "v/v": "% v/v", "w/w": "% w/v"}.get(kind, "%")  # type: ignore[return-value]
    if plain.lower().startswith("mol"):
        return "M"
    return "mg/ml" if plain.lower() == "mg/ml" else plain  # type: ignore[return-value]


def _strength(component: Component) -> float:
    molar = component.molar
    if molar is not None:
        return molar / 0.8
    return component.concentration / (40 if component.unit == "% sat." else 10) if "%" in component.unit else 0.0


# ---- names -----------------------------------------------------------------------------------------------------------

_PEG = re.compile(
    r"(?P<before>m|mono-?methyl ether )?(?:poly[\s-]*\(?ethylene[\s-]*glycol\)?|p\.?e\.?g\.?)[\s-]*"
    r"(?P<ether>(?:mono-?methyl[\s-]*ether|mme|dimethyl[\s-]*ether|dme)[\s-]*)?"
    r"(?P<mass>\d{1,2}[,.]?\d{3}|\d{3}|\d{1,2}(?=\s*k))\s*(?P<kilo>k(?:da)?)?"
    r"(?P<after>[\s-]*(?:mme|monomethyl ether|dme))?",
    re.IGNORECASE,
)

_NAMES: dict[str, str] = {
    "mpd": "MPD",
    "(+/-)-2-methyl-2,4-pentanediol": "MPD",
    "(±)-2-methyl-2,4-pentanediol": "MPD",
    "2-methyl-2,4-pentanediol": "MPD",
    "2-methyl-2,4-pentandiol": "MPD",
    "(nh4)2so4": "ammonium sulfate",
    "ammonium sulphate": "ammonium sulfate",
    "li2so4": "lithium sulfate",
    "lithium sulphate": "lithium sulfate",
    "mgso4": "magnesium sulfate",
    "nacl": "sodium chloride",
    "kcl": "potassium chloride",
    "licl": "lithium chloride",
    "mgcl2": "magnesium chloride",
    "cacl2": "calcium chloride",
    "isopropanol": "2-propanol",
    "iso-propanol": "2-propanol",
    "2-propanol": "2-propanol",
    "etoh": "ethanol",
    "bis-tris": "Bis-Tris",
    "bis tris": "Bis-Tris",
    "bistris": "Bis-Tris",
    "hepes": "HEPES",
    "mes": "MES",
    "tris": "Tris",
}
"""Usual names of what is also written otherwise, by the other in small letters."""

_HYDRATE = re.compile(r"\s+(?:mono|di|tri|tetra|penta|hexa|hepta|octa|deca|hemi)?hydrate$", re.IGNORECASE)

_PKA: tuple[tuple[str, float], ...] = (
    *((r"\bcitr(?:ate|ic)\b", 4.8), (r"\bacetate\b|\bacetic\b", 4.76), (r"\bbis[\s-]*tris[\s-]*propane\b", 6.8)),
    *((r"\bbis[\s-]*tris\b", 6.5), (r"\bmes\b", 6.15), (r"\bcacod[yi]late\b", 6.27), (r"\bada\b", 6.6)),
    *((r"\bpipes\b", 6.8), (r"\bimidazole\b", 7.0), (r"\bmops\b", 7.2), (r"\bhepes\b", 7.5), (r"\btricine\b", 8.1)),
    *((r"\btris\b", 8.1), (r"\bbicine\b", 8.35), (r"\btaps\b", 8.4), (r"\bches\b", 9.3), (r"\bcaps\b", 10.4)),
    *((r"\bglycine\b", 9.8), (r"\bspg\b|\bmmt\b|\bpctp\b|\bmib\b|\bsuccinic\b|\bbuffer\b", 0.0)),
)
"""pKa at 25 °C (Good et al. 1966; suppliers' tables) by the buffer's name; 0: buffers over a wide range."""

_SALTS_TOO = re.compile(r"\bcitr|\bacetate\b|\bacetic\b|\bglycine\b|\bsuccinic\b", re.IGNORECASE)
"""Buffers that are mostly salts: they are taken for buffers only with a pH."""


def name_of(text: str) -> str:
    """Return a component's usual name."""
    name = " ".join(text.split()).strip(" ,;:/+&.")
    if re.fullmatch(r"sat(?:urat(?:ed|ion)|\.)?\s+\S.*", name, re.IGNORECASE):
        name = name.partition(" ")[2]
    if (peg := _PEG.fullmatch(name)) or (peg := _PEG.match(name)):
        mass = int(re.sub(r"\D", "", peg["mass"])) * (1000 if peg["kilo"] else 1)
        ether = (peg["before"] or "") + (peg["ether"] or "") + (peg["after"] or "")
        kind = " DME" if re.search(r"dme|dimethyl", ether, re.IGNORECASE) else " MME" if ether.strip() else ""
        return f"PEG{kind} {mass}"
    plain = _HYDRATE.sub("", name)
    return _NAMES.get(plain.lower(), _lower(plain))


def _lower(name: str) -> str:
    """Write a name with a capital letter at its beginning only in small letters, so that different lists agree."""
    return name.lower() if re.fullmatch(r"(?!Tris\b)[A-Z][a-z]{3}[^A-Z]*", name) else name


def buffer_pka(name: str) -> float | None:
    """Return a buffer's pKa, 0 for one that buffers over a wide range; None if it isn't known as a buffer.

    Acetates, citrates and other salts are none by their names.
    """
    if _SALTS_TOO.search(name):
        return None
    return pka_of(name)


def pka_of(name: str) -> float | None:
    """Return the pKa, nearest to neutral, of what a name says; 0 for a buffer of a wide range, None if unknown."""
    return next((pka for pattern, pka in _PKA if re.search(pattern, name, re.IGNORECASE)), None)

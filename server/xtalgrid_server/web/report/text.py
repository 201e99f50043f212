"""Text in a PDF: any letters, with the fonts that the system has; none becomes markup, a crash or an empty box."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import reportlab
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont

from xtalgrid_core.lines import one_line

_BUNDLED = Path(reportlab.__file__).parent / "fonts"
_SYSTEM = Path("/usr/share/fonts/truetype")

FONTS = {
    "fonts-dejavu-core": ("dejavu/DejaVuSans.ttf", "dejavu/DejaVuSans-Bold.ttf"),
    "fonts-droid-fallback": ("droid/DroidSansFallbackFull.ttf", "droid/DroidSansFallbackFull.ttf"),
    "fonts-nanum": ("nanum/NanumGothic.ttf", "nanum/NanumGothicBold.ttf"),
}
"""Fonts of Debian's packages, light and bold, in the order in which they are asked for a letter.

The package of Droid has another font, with empty glyphs for Korean. A test compares the packages with those of
``docker/Dockerfile`` and docs/reports.md.
"""


class Text:
    """Divides text into what one font can show, and knows what is not shown as it should be."""

    def __init__(self, system: Path = _SYSTEM) -> None:
        found = _fonts(system)
        self._light, self._bold = zip(*found.values(), strict=True)
        self._not_installed = [package for package in FONTS if package not in found]
        self.missing: set[str] = set()
        self.is_reversed = False

    @property
    def font(self) -> str:
        """Name of the first font."""
        return str(self._light[0].fontName)

    @property
    def bold_font(self) -> str:
        """Name of the first font, bold."""
        return str(self._bold[0].fontName)

    @property
    def faults(self) -> list[str]:
        """What of the text so far is not shown as it should be, in sentences."""
        faults = []
        if self.missing:
            some = ", ".join(f"U+{ord(letter):04X}" for letter in sorted(self.missing)[:40])
            more = f" and {len(self.missing) - 40} more" if len(self.missing) > 40 else ""
            remedy = f"; or install {', '.join(self._not_installed)}" if self._not_installed else ""
            faults.append(
                f"{len(self.missing)} letters that no font here has are written as their numbers: {some}{more}. "
                f"The HTML report shows them{remedy}."
            )
        if self.is_reversed:
            faults.append("Text that runs from right to left is not turned around. The HTML report shows it right.")
        return faults

    def markup(self, text: object, *, bold: bool = False, longest: int = 400) -> str:
        """Return text as ReportLab's markup; for `longest` see `runs`."""
        runs = self.runs(text, bold=bold, longest=longest)
        return "".join(f'<font name="{font}">{escape(shown)}</font>' for font, shown in runs)

    def runs(self, text: object, *, bold: bool = False, longest: int = 400) -> list[tuple[str, str]]:
        """Return text as (name of a font, what it shows); letters that no font has are shown as their numbers.

        What exceeds so many letters is cut off, so that it fits a page.
        """
        line, runs, left, fonts = one_line(str(text)), [], longest, self._bold if bold else self._light
        self.is_reversed |= any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in line)
        for font, letters in groupby(line, lambda letter: _font_of(fonts, letter)):
            shown = "".join(letters)
            if not font:
                self.missing.update(shown)
                shown = "".join(f"[U+{ord(letter):04X}]" for letter in shown)
            if len(shown) > left:
                shown = shown[: max(left - 1, 0)] + "…"
            left -= len(shown)
            runs.append((font or str(fonts[0].fontName), shown))
            if left <= 0:
                break
        return runs


def _font_of(fonts: Iterable[TTFont], letter: str) -> str:
    return next((str(font.fontName) for font in fonts if _has(font, letter)), "")


def _has(font: TTFont, letter: str) -> bool:
    return bool(font.face.charToGlyph.get(ord(letter)))


@cache
def _fonts(system: Path) -> dict[str, tuple[TTFont, TTFont]]:
    """Return the fonts that there are, (light, bold), by package; ReportLab's own are the last."""
    files = {package: (system / light, system / bold) for package, (light, bold) in FONTS.items()}
    files[""] = _BUNDLED / "Vera.ttf", _BUNDLED / "VeraBd.ttf"
    pairs = {package: (_font(light), _font(bold)) for package, (light, bold) in files.items()}
    return {package: (light, bold) for package, (light, bold) in pairs.items() if light and bold}


@cache
def _font(path: Path) -> TTFont | None:
    """Register a font with ReportLab; None if it is not there or cannot be used."""
    try:
        font = TTFont(path.stem, str(path))
    except (TTFError, OSError):
        return None
    pdfmetrics.registerFont(font)
    return font

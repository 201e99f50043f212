"""Text in a PDF: any letters, with the fonts that the system has; none becomes markup, a crash or an empty box."""

from __future__ import annotations

from collections.abc import Iterator
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

_CANDIDATES = (
    ("dejavu/DejaVuSans.ttf", "dejavu/DejaVuSans-Bold.ttf"),  # fonts-dejavu-core
    ("droid/DroidSansFallbackFull.ttf", "droid/DroidSansFallbackFull.ttf"),  # fonts-droid-fallback
)
"""Fonts of Debian's packages, light and bold, in the order in which they are asked for a letter."""


class Text:
    """Makes ReportLab's markup of text, and knows which letters the fonts lack."""

    def __init__(self, system: Path = _SYSTEM) -> None:
        self._light, self._bold = zip(*_fonts(system), strict=True)
        self.missing: set[str] = set()

    @property
    def font(self) -> str:
        """Name of the first font."""
        return str(self._light[0].fontName)

    @property
    def bold_font(self) -> str:
        """Name of the first font, bold."""
        return str(self._bold[0].fontName)

    def markup(self, text: object, *, bold: bool = False, longest: int = 400) -> str:
        """Return text as markup; what exceeds so many letters is cut off, so that it fits a page."""
        line, parts, left = one_line(str(text)), [], longest
        for font, run in self._runs(line, bold):
            shown = run if font else "".join(f"[U+{ord(letter):04X}]" for letter in run)
            if len(shown) > left:
                shown = shown[: max(left - 1, 0)] + "…"
            left -= len(shown)
            parts.append(f'<font name="{font or self._fonts(bold)[0].fontName}">{escape(shown)}</font>')
            if left <= 0:
                break
        return "".join(parts)

    def plain(self, text: object) -> str:
        """Return text for a single line in the first font alone; other letters are written as their numbers."""
        font = self._light[0]
        return "".join(c if _has(font, c) else self._number(c) for c in one_line(str(text)))

    def _number(self, letter: str) -> str:
        self.missing.add(letter)
        return f"[U+{ord(letter):04X}]"

    def _runs(self, text: str, bold: bool) -> Iterator[tuple[str, str]]:
        """Split text by font; letters that no font has are under an empty name."""
        for font, letters in groupby(text, lambda letter: self._font_of(letter, bold)):
            run = "".join(letters)
            if not font:
                self.missing.update(run)
            yield font, run

    def _font_of(self, letter: str, bold: bool) -> str:
        return next((str(font.fontName) for font in self._fonts(bold) if _has(font, letter)), "")

    def _fonts(self, bold: bool) -> tuple[TTFont, ...]:
        return self._bold if bold else self._light


def _has(font: TTFont, letter: str) -> bool:
    return bool(font.face.charToGlyph.get(ord(letter)))


@cache
def _fonts(system: Path) -> list[tuple[TTFont, TTFont]]:
    """Return the fonts that there are, (light, bold); ReportLab's own are the last."""
    pairs = [tuple(system / name for name in pair) for pair in _CANDIDATES]
    found = [pair for each in pairs if (pair := tuple(map(_font, each))) and all(pair)]
    own = (_font(_BUNDLED / "Vera.ttf"), _font(_BUNDLED / "VeraBd.ttf"))
    return [(light, bold) for light, bold in (*found, own) if light and bold]


@cache
def _font(path: Path) -> TTFont | None:
    """Register a font with ReportLab; None if it is not there or cannot be used."""
    try:
        font = TTFont(path.stem, str(path))
    except (TTFError, OSError):
        return None
    pdfmetrics.registerFont(font)
    return font

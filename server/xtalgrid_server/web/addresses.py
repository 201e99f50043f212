"""An inspection in the viewer's addresses: whatever barcode and number an imager database holds."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor

INSPECTION = "{barcode:barcode}/{inspection:inspection}"
"""The part of an address that names an inspection of a plate."""


class _Barcode(Convertor[str]):
    """Any text: with slashes, and with the line break that a barcode reader sends behind it."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Inspection(Convertor[int]):
    """A whole number, which may be negative."""

    regex = "-?[0-9]+"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("barcode", _Barcode())
register_url_convertor("inspection", _Inspection())

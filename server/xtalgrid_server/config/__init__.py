"""A lab's configuration, ``xtalgrid.toml``: its keys (`sections`) and its only reader (`reader`)."""

from .reader import from_string, load
from .sections import EMBEDDED, FILE_NAME, Boinc, Config, HoldRule, Policy, Publish, UndecidedBelow, Work

__all__ = [
    "EMBEDDED",
    "FILE_NAME",
    "Boinc",
    "Config",
    "HoldRule",
    "Policy",
    "Publish",
    "UndecidedBelow",
    "Work",
    "from_string",
    "load",
]

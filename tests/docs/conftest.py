"""The reference's own modules, from scripts/."""

import sys

from .pages import ROOT

sys.path.append(str(ROOT / "scripts"))

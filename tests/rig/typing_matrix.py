"""Type 60 drops at every speed over every line, and compare the ledger with what was typed.

    python -m tests.rig.typing_matrix [--drops 60]

Two people score one plate at once, at 60, 120 and 200 ms a key, with answers delayed by 0, 150 and 400 ms and one
request in ten failing; each case is run with sessions that last, and with sessions that end in the middle.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

from tests.system.typists import differences, lab, type_all
from tests.system.viewer import chromium

KEYS_MS, DELAYS_MS = (60, 120, 200), (0, 150, 400)


def main() -> None:
    """Run all cases, and exit with 1 if a score is lost, wrong or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drops", type=int, default=60)
    drops, bad = parser.parse_args().drops, 0
    print("ms a key  delay  session   scores  not as typed   seconds")
    with chromium() as browser:
        for key_ms, delay_ms, expiring in itertools.product(KEYS_MS, DELAYS_MS, (False, True)):
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder, lab(Path(folder), drops) as opened:
                meant, given = type_all(
                    browser,
                    opened,
                    key_ms=key_ms,
                    delay_s=delay_ms / 1000,
                    failing=0.1,
                    expiring=expiring,
                    people=("ann", "ben"),
                )
            found = differences(meant, given)
            bad += len(found)
            print(
                f"{key_ms:8}  {delay_ms:5}  {'ends' if expiring else 'lasts':8}{meant.total():8}{len(found):14}"
                f"{time.monotonic() - began:10.1f}",
                flush=True,
            )
            for line in found[:5]:
                print(f"    {line}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()

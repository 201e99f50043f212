"""Answer the questions of docs/capacity.md with ``xtalgrid simulate``, as rows for docs/evaluation/measured.toml.

With the core-seconds of a well on your own computers: ``python scripts/bench/capacity.py --core-s SECONDS``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

IMAGERS = "--imagers 6 --well-s 5.19 --within-h 1 --warm-up-days 1"
ARCHIVE = "--imagers 0 --archive 15666284 --within-h 1 --days 30"
OFFICE = "--spread 0.5 --on-h 8 --off-h 16 --errors 0.02 --spot-checks 0.05"

QUESTIONS = {
    "six imagers at the paper's highest rate, 5.19 s a well each; machines always on": f"{IMAGERS} --days 4",
    "the same on office computers": f"{IMAGERS} --days 6 {OFFICE}",
    "the paper's archive, 15,666,284 wells, in 30 days; machines always on": ARCHIVE,
    "the archive in 30 days on office computers": f"{ARCHIVE} {OFFICE}",
}


def main() -> None:
    """Print a row for each question."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core-s", type=float, help="core-seconds of a well; by default that of xtalgrid simulate")
    core_s = parser.parse_args().core_s
    for question, options in QUESTIONS.items():
        core = [] if core_s is None else ["--core-s", f"{core_s:g}"]
        command = [sys.executable, "-m", "xtalgrid_server", "simulate", *options.split(), *core, "--json"]
        told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        shown = options.replace(OFFICE, "…").strip()
        row = [question, f"`{shown}`", str(told["scenario"]["hosts"]), f"{100 * told['busy']:.0f} %", _when(told)]
        print(f"    {json.dumps(row, ensure_ascii=False)},", flush=True)


def _when(told: dict[str, Any]) -> str:
    if told["archive"] is not None:
        days = told["archive"]["days"]
        return "not finished" if days is None else f"{days:.1f} days"
    lag = told["fresh"]["lag_minutes"]
    return f"95 % within {lag['percent_95']:.1f} minutes, longest {lag['longest'] / 60:.1f} h"


if __name__ == "__main__":
    main()

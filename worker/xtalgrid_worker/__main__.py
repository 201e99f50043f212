"""Entry point of ``python -m xtalgrid_worker`` and of the frozen worker."""

from xtalgrid_worker.cli import main
from xtalgrid_worker.stopping import tidy_up

if __name__ == "__main__":
    try:
        main()
    finally:
        tidy_up()

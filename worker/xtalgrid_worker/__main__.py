"""``python -m xtalgrid_worker``, and what the frozen worker starts with."""

from xtalgrid_worker.cli import main
from xtalgrid_worker.stopping import tidy_up

if __name__ == "__main__":
    try:
        main()
    finally:
        tidy_up()

"""``python -m xtalgrid_server``: the command ``xtalgrid``."""

from .cli import main

main()

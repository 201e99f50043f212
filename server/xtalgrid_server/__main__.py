"""Start ``xtalgrid`` or ``python -m xtalgrid_server``; if only the worker is installed, say what is missing."""

import io
import sys


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may have what a terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        from .cli.main import main as run
        from .storage.permissions import keep_private
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("xtalgrid"):
            raise
        from xtalgrid_core.errors import not_installed

        sys.exit(f"xtalgrid: {not_installed(error.name, 'server')}")
    keep_private()
    run()


if __name__ == "__main__":
    main()

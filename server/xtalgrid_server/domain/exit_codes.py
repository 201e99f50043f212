"""Exit codes of commands that did nothing, though nothing is wrong with them."""

EXIT_BUSY = 75
"""Exit code of a command whose step is already running."""

EXIT_WAITS = 78
"""Exit code of a grid whose units wait for weights that are not here, as while a share is off."""

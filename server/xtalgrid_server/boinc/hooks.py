"""The BOINC hooks under their 0.1.0 name; ``xtalgrid boinc install`` updates a project to the new one."""

import sys

from ..cli.boinc_hooks import main

if __name__ == "__main__":
    sys.exit(main())

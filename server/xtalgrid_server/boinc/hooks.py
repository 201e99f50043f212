"""The hooks under the name that projects set up by xtalgrid 0.1.0 call; ``xtalgrid boinc install`` writes the new one."""

import sys

from ..cli.boinc_hooks import main

if __name__ == "__main__":
    sys.exit(main())

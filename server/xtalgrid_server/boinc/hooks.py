"""The BOINC hooks under their 0.1.0 name; ``xtalgrid boinc install`` updates a project to the new one."""

import sys

from ..cli.boinc_hooks import main
from ..storage.permissions import keep_private

if __name__ == "__main__":
    keep_private()
    sys.exit(main())

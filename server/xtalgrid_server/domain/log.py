"""The server's one logger, for whatever layer has something to say."""

import logging

log = logging.getLogger("xtalgrid")

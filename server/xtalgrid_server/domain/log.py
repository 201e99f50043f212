"""The server's one logger, shared by all layers."""

import logging

log = logging.getLogger("xtalgrid")

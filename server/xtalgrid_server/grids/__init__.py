"""Where workers run; today on this machine, by a spool folder."""

"""Discrete-event model of imagers, units and hosts, to find how many computers a lab needs (``xtalgrid simulate``)."""

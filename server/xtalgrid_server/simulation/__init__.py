"""How many computers a lab needs: a discrete-event model of imagers, units and hosts (``xtalgrid simulate``)."""

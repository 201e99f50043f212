"""What the rig's programs share: hostile results, units and images, a lab to break, and a watch over readers."""

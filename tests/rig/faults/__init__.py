"""What the scripts on faults share: hostile results, units and images, and the watch that is kept over those who read them."""

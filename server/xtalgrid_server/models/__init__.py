"""Which networks new work asks for: a lab's own weights, promoted and rolled back without a new program."""

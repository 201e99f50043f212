"""Training sets: from scored wells, labelled folders and MARCO's shards to chops on disk, and back."""

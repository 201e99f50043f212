"""Training sets: convert scored wells, labelled folders and MARCO's shards to chops on disk, and read them back."""

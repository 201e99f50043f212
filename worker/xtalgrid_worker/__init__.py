"""Scores the images of one work unit: the program that runs on idle workstations."""

"""Folders that an imager fills, and folders of images that somebody has."""

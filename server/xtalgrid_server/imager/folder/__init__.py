"""Images from folders: watched ones, which an imager fills, and those imported once."""

"""The content of the viewer's pages, before it is rendered."""

"""What the viewer's pages show, before it becomes HTML."""

"""Commands: options in, text out, no logic of their own."""

"""What a score is: outcomes, chops, decision, wire format, image decoding, frames, errors. No files, no network, no torch."""

"""What a score is: outcomes, chops, decision rules, wire format, image decoding, frames, errors."""

"""Why a well was called what it was called: where each group was seen, and what the answer hangs on."""

"""From scores in the ledger to ARTscores in the imager's score table: finalizer, review, publication, framed images."""

"""What is remembered: the ledger, sessions folded from it, key-value entries, blobs."""

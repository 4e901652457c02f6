"""A published experiment from raw text to results: what to train, what it will cost, and ours beside theirs."""

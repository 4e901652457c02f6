"""Raw text to ids: sources, rules, tokenizers, vocabulary, corpus, batches."""

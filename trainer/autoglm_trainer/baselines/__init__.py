"""Plain methods without a language model, told beside every result."""

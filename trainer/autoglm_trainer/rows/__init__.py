"""Labelled rows: read from files, checked, split. Every refusal names source, line, value and remedy."""

"""Tuning a language model: one backbone, every method, many trials."""

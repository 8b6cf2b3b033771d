"""Benchmarks as ratios: what we do and what it replaces, in one run on one machine. `python -m benchmarks --help`."""

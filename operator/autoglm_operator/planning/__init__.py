"""The parts of a study's plan. Pure: no client, no clock, no randomness."""

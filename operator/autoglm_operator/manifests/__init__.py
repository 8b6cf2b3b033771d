"""Typed functions from frozen values to objects for the API server: same input, same bytes; no client, no clock."""

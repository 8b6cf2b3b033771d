"""Endpoints: which model serves, how it gets there, and how it goes. Observe → plan → apply, as with studies."""

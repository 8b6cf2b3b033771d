"""The base model in memory, the networks around it, and the graph that leaves it."""

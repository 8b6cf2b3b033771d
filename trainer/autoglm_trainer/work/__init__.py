"""The worker: claims trials, runs them, survives what happens, and tells."""

"""The trainer: claims trials, trains, exports the best model and reports."""

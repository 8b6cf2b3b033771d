"""Pictures as a network sees them: decoded once, changed by chance while they are trained on."""

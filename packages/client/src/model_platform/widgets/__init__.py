"""Parts that a person can work with; nothing lives in them alone."""

"""Publishing: what the notebook holds becomes a version. Everything here looks; only `publish` acts."""

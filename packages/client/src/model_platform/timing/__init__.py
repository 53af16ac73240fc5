"""The notebook and an endpoint side by side: what each takes for the same rows, and the one setting to change."""

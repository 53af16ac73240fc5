"""Model Platform: values and rules. No I/O, no clock, no SDK."""

__version__ = "0.1.0"

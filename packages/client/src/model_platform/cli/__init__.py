"""`mp`: the verbs of the magics as commands."""

from model_platform.cli.main import main

__all__ = ["main"]

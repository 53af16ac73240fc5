"""`%load_ext model_platform`: every verb as a line magic, and `%mp VERB …`."""

from model_platform.magics.register import load

__all__ = ["load"]

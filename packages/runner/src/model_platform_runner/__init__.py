"""Serves one version of a model, from an MLflow model directory, over Unix sockets."""

__version__ = "0.1.0"

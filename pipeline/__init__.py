"""Configuration, command line, the steps of a run, reports."""

__version__ = "0.1.0"  # of the whole distribution; pyproject.toml reads it here

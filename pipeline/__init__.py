"""Configuration, command line, the steps of a run, reports."""

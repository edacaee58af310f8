"""Typed configuration: files, built-in configs, and errors that name the key."""

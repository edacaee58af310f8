"""Zoos in other formats: import and export."""

"""A zoo on disk: shards, their description, and how they are read."""

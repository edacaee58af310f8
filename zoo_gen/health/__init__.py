"""Whether a zoo is whole and sound: one pass over its shards, and a verdict."""

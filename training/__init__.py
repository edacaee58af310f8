"""Learning on the weights of a zoo."""

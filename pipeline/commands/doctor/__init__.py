"""`dwszoo doctor`: what is here, what is missing, for what it is needed, and what to do."""

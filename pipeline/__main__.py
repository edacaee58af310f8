"""``python -m pipeline`` is ``dwszoo``."""

from pipeline.cli import main

main()

"""``python -m pipeline`` is ``dwszoo``."""

from pipeline.commands.cli import main

main()

"""``python -m gd`` is the command ``gd``."""

from gd.cli import main

main()

"""What the project costs, measured side by side in one run: ``make bench``."""

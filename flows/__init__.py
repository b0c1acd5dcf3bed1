"""What runs, when, how often it is retried, and who hears of it: the Prefect side of gd."""

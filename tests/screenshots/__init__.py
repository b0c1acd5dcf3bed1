"""The pictures of the README, made by ``make screenshots`` from real runs in a real browser."""

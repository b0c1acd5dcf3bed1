"""Bytes that coverage leads to, thrown at the reader of CSV files: ``make fuzz``."""

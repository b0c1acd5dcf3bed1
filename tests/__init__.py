"""Tests: one file a module of gd, and one for each way in which people use it."""

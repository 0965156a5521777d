"""Notebooks: run headless."""

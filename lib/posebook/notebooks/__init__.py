"""Notebooks: run headless, copied to where they are studied."""

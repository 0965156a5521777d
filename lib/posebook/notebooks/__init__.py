"""Notebooks: run headless, kept tidy and linked, copied to where they are studied, shown as pages and as sliders."""

"""Luvizon, Tabia, Picard: *Human Pose Regression by Combining Indirect Part Detection and Contextual Information*."""

"""Training: the loop, recipes and profiles, runs and their checkpoints, augmentation, schedules."""

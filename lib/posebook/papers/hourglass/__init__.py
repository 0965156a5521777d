"""The stacked hourglass that four of the five papers start from."""

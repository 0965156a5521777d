"""What is long-running, stopped at any moment, twice at once, and on a disk that fails."""

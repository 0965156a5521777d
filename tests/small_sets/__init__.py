"""Small sets in the official layouts, made on the spot: what tests of readers, packing and commands open."""

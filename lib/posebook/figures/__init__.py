"""Rendered people: the pose prior, bodies and clothes, scenery, the rasteriser, and the dataset made of them."""

"""Which joints belong together: mutual information of their locations, and groups by spectral clustering."""

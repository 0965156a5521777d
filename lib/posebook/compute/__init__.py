"""Where and how things are computed: precision and layout in memory, devices, processes that work together."""

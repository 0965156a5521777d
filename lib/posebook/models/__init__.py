"""Networks: a file a paper, named by its slug, and the stacked hourglass that four of the five start from."""

"""Plans a study: makes runs from the cells of its grid, computes their cost, and divides them into jobs."""

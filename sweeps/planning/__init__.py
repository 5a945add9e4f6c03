"""From the cells of a grid to runs, their cost, and the jobs that would train them."""

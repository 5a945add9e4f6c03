"""Two studies on one page: their laws over one another and in one table, and the compute at equal loss."""

"""Shows the fits to a reader: in the terminal, as figures, and on a page."""

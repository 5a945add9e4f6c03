"""What a reader sees of the fits: the terminal, the figures, the page."""

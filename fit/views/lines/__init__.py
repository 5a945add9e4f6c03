"""The fits and the comparison of the regimes as lines of text."""

"""Trained SAEs in the layouts of other tools, and back."""

"""A law of the user as any smooth function: its slopes, curvature and starts."""

"""Code that the figures share: axes, colours, labels, style, and the inputs that they take from a study."""

"""What the figures share: axes, colours, labels, style, and what they need of a study."""

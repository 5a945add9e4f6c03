"""Training: runs in packs over one stream, their gradients and optimizer, checkpoints, convergence."""

"""Sparse autoencoders and their training: model, gradients, optimizer, data, convergence. Knows nothing of sweeps."""

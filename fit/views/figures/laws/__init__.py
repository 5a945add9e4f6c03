"""Figures of one law each: L(N), L(N, K), L(C), T(n), with the runs that it was fitted to."""

"""Compares the two regimes of one study: L(C), the best use of compute, and L(N), training to convergence."""

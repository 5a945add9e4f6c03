"""L(N), L(N, K), T(n) and lr*(n): laws of runs trained to convergence, whatever compute that took."""

"""L(N), L(N, K), T(n) and lr*(n): laws of runs that were trained to convergence. Disregards compute."""

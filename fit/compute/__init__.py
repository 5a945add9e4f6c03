"""L(C), the frontier of all training curves, with N*(C), D*(C) and lr*(C). The runs need not have converged."""

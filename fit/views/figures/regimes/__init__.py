"""Figures that compare L(C) with L(N)."""

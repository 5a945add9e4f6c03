"""Scaling laws: `fitting.fit_law` fits arrays, `regimes.fit_table` tables, `cli` files."""

"""Scaling laws: `fitting.fit_law` fits arrays, `study.fit_table` tables, `cli` files."""

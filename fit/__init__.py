"""Scaling laws: `law.fit_law` fits arrays, `study.fit_table` tables, `views.verbs.fit` files."""

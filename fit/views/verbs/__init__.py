"""The verbs that read tables: fit, figures, report."""

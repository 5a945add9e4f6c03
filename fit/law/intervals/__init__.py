"""95 % intervals: profile likelihood, bootstrap over runs, the delta method, and which of them fits the rows."""

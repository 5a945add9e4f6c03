"""Result tables as they are read: columns, conditions, groups of rows, training curves."""

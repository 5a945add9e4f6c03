"""Files of tables: their compression, encoding, format and dialect. `fit.data.tables.read` is the way in."""

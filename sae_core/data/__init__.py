"""Activations: harvested, stored, streamed or synthetic, behind one interface, `source.Source`."""

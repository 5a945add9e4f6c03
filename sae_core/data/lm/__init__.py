"""Activations of a model that transformers loads, run over text: harvested into stores, or streamed."""

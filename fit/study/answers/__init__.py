"""Answers from fitted laws: what they predict at given inputs, what a loss needs, and how to spend a budget."""

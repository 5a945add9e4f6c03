"""L(C) against L(N): what the two regimes say of one study."""

"""`plan design=true`: proposes which cells of a study to train next, and prints the proposal."""

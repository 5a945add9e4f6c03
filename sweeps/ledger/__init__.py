"""The ledger: run folders, the claims and failures in them, and the tables made from them."""

"""From a Hydra config to a table of runs: grid, plan, ledger, dispatch, worker, status, collect."""

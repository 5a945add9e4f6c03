"""From a plan to workers: submitit, SLURM, this machine."""

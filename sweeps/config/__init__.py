"""From a Hydra config to the cells of a grid."""

"""A worker: claims runs and trains them in packs until none is left."""

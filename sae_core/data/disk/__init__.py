"""Activation stores on disk: shards with checksums and a manifest, written by a harvest or from arrays."""

"""Which packages are installed: every folder of the four, found, so that a new room is never forgotten.

`kernels` has no __init__.py, since a regular package of that name breaks transformers (tests/test_guard.py): only a
search for namespace packages finds it. conf/ in a checkout is sweeps/conf/ when installed.
"""

from setuptools import find_namespace_packages, setup

CODE = ("fit", "kernels", "sae_core", "sweeps")


def folders(*names: str) -> list[str]:
    return find_namespace_packages(
        include=[p for n in names for p in (n, f"{n}.*")], exclude=["*.__pycache__"]
    )


setup(
    packages=[*folders(*CODE), *(f"sweeps.{name}" for name in folders("conf"))],
    package_dir={"sweeps.conf": "conf"},
)

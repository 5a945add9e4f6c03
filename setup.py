"""Finds the packages to install, so that a new folder needs no line anywhere.

`kernels` has no __init__.py, because a regular package of that name breaks transformers (tests/test_guard.py), and only
a search for namespace packages finds it. The config groups, conf/ in a checkout, are installed as sweeps/conf/.
"""

from setuptools import find_namespace_packages, setup

CODE = ("fit", "kernels", "sae_core", "sweeps")


def packages_below(*names: str) -> list[str]:
    patterns = [pattern for name in names for pattern in (name, f"{name}.*")]
    return find_namespace_packages(include=patterns, exclude=["*.__pycache__"])


setup(
    packages=[*packages_below(*CODE), *(f"sweeps.{name}" for name in packages_below("conf"))],
    py_modules=["saescale"],
    package_dir={"sweeps.conf": "conf"},
)

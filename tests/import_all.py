"""Imports every module of one installed package, and looks that the other package is not there.

Run by package_check.sh inside an environment that holds nothing but the package and its declared requirements.
"""

import importlib
import importlib.util
import pkgutil
import sys

# Alembic runs these itself, in a context that only it can make.
RUN_BY_ALEMBIC = ".migrations.env"


def main(package_name: str, other_name: str) -> None:
    if importlib.util.find_spec(other_name):
        sys.exit(f"{other_name} is installed beside {package_name}: this proves nothing")
    package = importlib.import_module(package_name)
    names = [module.name for module in pkgutil.walk_packages(package.__path__, package_name + ".", onerror=_fail)]
    for name in names:
        if not name.endswith(RUN_BY_ALEMBIC):
            importlib.import_module(name)
    if not package.__file__.startswith(sys.prefix):
        sys.exit(f"{package_name} was imported from {package.__file__}, not from its wheel")
    print(f"{package_name} {package.__version__}: {len(names)} modules import without {other_name}")


def _fail(name: str) -> None:
    raise ImportError(f"{name} cannot be imported") from sys.exception()


if __name__ == "__main__":
    main(*sys.argv[1:])

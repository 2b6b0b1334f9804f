"""Slow NumPy twins of the kernels, one file per topic; this one gathers whatever topics there are."""

from importlib import import_module
from pathlib import Path

for _path in sorted(Path(__file__).parent.glob("naive_*.py")):
    _topic = import_module(_path.stem)
    globals().update({name: value for name, value in vars(_topic).items() if not name.startswith("_")})

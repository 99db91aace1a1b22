"""Gradient-based optimizers for PyTorch: a page each, compiled into one pass, compared with evidence."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ravine.public import *  # noqa: F403

    __version__: str
else:
    from importlib import import_module

    def __getattr__(name):
        """A public name. All are imported when the first is used, so that `ravine --help` needs no torch."""
        if name == "__version__":
            return import_module("importlib.metadata").version("ravine")
        if name.startswith("_") and name != "__all__":
            raise AttributeError(f"module 'ravine' has no attribute '{name}'")
        made = {k: x for k, x in vars(import_module("ravine.public")).items() if not k.startswith("_")}
        globals().update(made)
        if name == "__all__":
            return sorted(made)
        if name in globals():
            return globals()[name]
        raise AttributeError(import_module("ravine.catalog.names").no_name(name, made))

    def __dir__():
        """The public names."""
        return [*(k for k in globals() if k.startswith("__")), "__version__", "__all__", *__getattr__("__all__")]

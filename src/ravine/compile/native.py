"""LLVM IR to machine code in this process, and the OpenMP threads that torch already has."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (llvmlite has no type stubs)

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from ravine.compile.cache import cached
from ravine.compile.debug import asked, debug

_one = Lock()  # LLVM's target machine and linker are for one thread at a time, and ctypes drops the GIL
_serial = count()  # a library's name may not come twice


class Code:
    """The functions of a module; its memory lives while one of them does."""

    def __init__(self, ir: str, names: list[str]):
        with _one:
            machine = f"{processor()} llvmlite {llvmlite.__version__}"
            library = llvm.JITLibraryBuilder().add_object_img(cached(f"; {machine}\n{ir}", build))
            for name in names:
                library.export_symbol(name)
            self._held = library.link(jit(), f"ravine{next(_serial)}")
            self.address: dict[str, int] = {name: self._held[name] for name in names}

    def function(self, name: str, *types: Any) -> Callable[..., None]:
        """The function `name` as Python calls it; the GIL is dropped meanwhile."""
        made: Any = ctypes.CFUNCTYPE(None, *types)(self.address[name])
        made.code = self  # two threads may compile the same text, and a cache keeps one of the two
        return made


def build(ir: str) -> bytes:
    """Optimized machine code: an object file as bytes."""
    module = llvm.parse_assembly(ir)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    passes = llvm.create_pass_builder(target(), options)
    passes.getModulePassManager().run(module, passes)
    if asked() >= 4:
        debug(4, target().emit_assembly(module))
    return target().emit_object(module)


def processor() -> str:
    """What programs are made for, in words."""
    return f"{target().triple} {llvm.get_host_cpu_name()} {features()}"


@cache
def target() -> Any:
    """This machine, as LLVM sees it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features(), opt=3, reloc="pic", codemodel="default", jit=True
    )


@cache
def features() -> str:
    """The features of this processor."""
    return llvm.get_host_cpu_features().flatten()


@cache
def jit() -> Any:
    """The linker of this process."""
    return llvm.create_lljit_compiler(target())


@cache
def openmp() -> tuple[int, int]:
    """The addresses of GOMP_parallel and omp_get_wtime in the OpenMP runtime that torch has loaded; 0 without one.

    It must be that very runtime: a second one would bring a second pool of threads.
    """
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return 0, 0
    found = dict.fromkeys(line.split()[-1] for line in maps.splitlines())
    for path in sorted(found, key=lambda path: "torch" not in path):  # scikit-learn, too, brings one
        if any(name in Path(path).name for name in ("libgomp", "libiomp", "libomp")):
            try:
                library = ctypes.CDLL(path)
                return address(library.GOMP_parallel), address(library.omp_get_wtime)
            except (OSError, AttributeError):
                continue
    return 0, 0


def address(function: Any) -> int:
    """Where a function of a library lies."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0

"""Where tensors lie, and how: asked of torch's C interface by machine code, in one call for all of them."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ravine.compile.native import Code

ASKED = ("data_ptr", "strides", "dim", "dtype", "numel")  # aoti_torch_get_…, of torch's stable C interface
# for tensor i: its address, and a number mixed of its strides, type and size; the sum of what went wrong is returned
IR = """
define i32 @look(i64 %n, ptr %tensors, ptr %data_ptr, ptr %strides, ptr %dim, ptr %dtype, ptr %numel,
                 ptr %addresses, ptr %kinds) {
entry:
  %a = alloca i64
  %s = alloca ptr
  %d = alloca i64
  %t = alloca i32
  %e = alloca i64
  br label %head
head:
  %i = phi i64 [0, %entry], [%i1, %end]
  %wrong = phi i32 [0, %entry], [%wrong5, %end]
  %inside = icmp slt i64 %i, %n
  br i1 %inside, label %ask, label %exit
ask:
  %x = getelementptr ptr, ptr %tensors, i64 %i
  %r1 = call i32 %data_ptr(ptr %x, ptr %a)
  %r2 = call i32 %strides(ptr %x, ptr %s)
  %r3 = call i32 %dim(ptr %x, ptr %d)
  %r4 = call i32 %dtype(ptr %x, ptr %t)
  %r5 = call i32 %numel(ptr %x, ptr %e)
  %wrong1 = or i32 %wrong, %r1
  %wrong2 = or i32 %wrong1, %r2
  %wrong3 = or i32 %wrong2, %r3
  %wrong4 = or i32 %wrong3, %r4
  %wrong5 = or i32 %wrong4, %r5
  %fine = icmp eq i32 %wrong5, 0
  br i1 %fine, label %note, label %exit
note:
  %address = load i64, ptr %a
  %to = getelementptr i64, ptr %addresses, i64 %i
  store i64 %address, ptr %to
  %stride = load ptr, ptr %s
  %dims = load i64, ptr %d
  %type = load i32, ptr %t
  %type.wide = zext i32 %type to i64
  %size = load i64, ptr %e
  %size.mixed = mul i64 %size, 6364136223846793005
  %start = add i64 %size.mixed, %type.wide
  br label %mix
mix:
  %j = phi i64 [0, %note], [%j1, %more]
  %kind = phi i64 [%start, %note], [%kind1, %more]
  %left = icmp slt i64 %j, %dims
  br i1 %left, label %more, label %end
more:
  %at = getelementptr i64, ptr %stride, i64 %j
  %length = load i64, ptr %at
  %turned = mul i64 %kind, 6364136223846793005
  %kind1 = add i64 %turned, %length
  %j1 = add i64 %j, 1
  br label %mix
end:
  %kind.to = getelementptr i64, ptr %kinds, i64 %i
  store i64 %kind, ptr %kind.to
  %i1 = add i64 %i, 1
  br label %head
exit:
  %result = phi i32 [%wrong, %head], [%wrong5, %ask]
  ret i32 %result
}
"""


@cache
def native() -> Callable[..., int] | None:
    """The function, with torch's; None where this torch has no such interface, or does not answer as expected."""
    try:
        (file,) = (p for p in (Path(torch.__file__).parent / "lib").iterdir() if p.stem == "libtorch_cpu")
        library = ctypes.CDLL(str(file))
        asked = [ctypes.cast(getattr(library, f"aoti_torch_get_{name}"), ctypes.c_void_p).value for name in ASKED]
        code = Code(IR, ["look"])
    except (OSError, ValueError, AttributeError):
        return None
    # the GIL is kept: no other thread may exchange a tensor meanwhile, and the call takes nanoseconds
    made = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int64, *[ctypes.c_void_p] * (len(ASKED) + 3))(code.address["look"])

    def look(n: int, tensors: int, addresses: int, kinds: int) -> int:
        return made(n, tensors, *asked, addresses, kinds)

    look.code = code  # pyright: ignore[reportFunctionMemberAccess]  # its memory lives while the function does
    probe = torch.zeros(5, 3, dtype=torch.float64)[1:, 1]
    tensors, found = array("q", [probe._cdata]), array("q", [0, 0])  # pyright: ignore[reportAttributeAccessIssue]
    at = found.buffer_info()[0]
    wrong = look(1, tensors.buffer_info()[0], at, at + 8)
    return look if not wrong and found[0] == probe.data_ptr() else None


class Places:
    """The addresses and the kinds of some tensors that stay and some that change from step to step."""

    def __init__(self, stay: Sequence[Tensor], change: int, python: bool):
        self.stay, self.count = list(stay), len(stay) + change
        self.native = None if python else native()
        self.addresses, self.kinds = array("q", bytes(8 * self.count)), array("q", bytes(8 * self.count))
        handles = [x._cdata for x in self.stay] if self.native else []  # pyright: ignore[reportAttributeAccessIssue]
        self.handles = array("q", [*handles, *[0] * change])
        self.at = [x.buffer_info()[0] for x in (self.handles, self.addresses, self.kinds)]

    def look(self, changing: Sequence[Any], local: Callable[[Any], Tensor]) -> None:
        """Ask anew. Raises RuntimeError where one has no memory of its own."""
        if self.native is not None:
            self.handles[len(self.stay) :] = array("q", [x._cdata for x in changing])
            if not self.native(self.count, *self.at):
                return
        tensors = [local(x) for x in (*self.stay, *changing)]
        for i, x in enumerate(tensors):
            self.addresses[i] = x.data_ptr()
            self.kinds[i] = hash((x.stride(), x.dtype, x.numel()))

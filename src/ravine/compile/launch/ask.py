"""Machine code that asks torch and Python about many tensors in one call (docs/decisions.md says why).

It calls functions that they export: torch's stable C interface where it has the answer, else C++ symbols by their
mangled names. Each function is tried on known tensors before it is trusted: where one is missing or wrong, `native()`
is None, and look.py asks in Python.
"""

from __future__ import annotations

import ctypes
import sys
from array import array
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ravine.compile.native import Code

AHEAD = 8  # prefetch distance, in tensors: there may be more than the caches hold
TORCH = {
    **{k: f"aoti_torch_get_{k}" for k in ("data_ptr", "sizes", "strides", "dim", "dtype")},
    **{k: f"aoti_torch_get_{k}" for k in ("storage_size", "storage_offset", "device_type", "device_index")},
    **{k: f"_ZN2at6native{len(k)}{k}ERKNS_6TensorE" for k in ("is_conj", "is_neg")},
    "bump_version": "_ZN5torch8autograd4impl12bump_versionERKN2at6TensorE",
    "grad": "_ZNK3c1010TensorImpl4gradEv",
}
PYTHON = ("PyDict_Size", "PyDict_Next", "PyList_Size", "PyList_GetItem")

PARTS = """
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)

define internal i64 @word(ptr %table, i64 %i) alwaysinline {
  %at = getelementptr i64, ptr %table, i64 %i
  %x = load i64, ptr %at
  ret i64 %x
}

define internal ptr @address(ptr %table, i64 %i) alwaysinline {
  %x = call i64 @word(ptr %table, i64 %i)
  %p = inttoptr i64 %x to ptr
  ret ptr %p
}

define internal i64 @exchange(ptr %table, i64 %i, i64 %new) alwaysinline {  ; 1 where it was another
  %at = getelementptr i64, ptr %table, i64 %i
  %old = load i64, ptr %at
  store i64 %new, ptr %at
  %other = icmp ne i64 %old, %new
  %changed = zext i1 %other to i64
  ret i64 %changed
}

define internal i64 @mix(i64 %so.far, i64 %x) alwaysinline {
  %turned = mul i64 %so.far, 6364136223846793005
  %mixed = add i64 %turned, %x
  ret i64 %mixed
}

define internal ptr @tensor(ptr %tensors, i64 %i) alwaysinline {  ; an at::Tensor, whose one word is a TensorImpl
  %far = add i64 %i, AHEAD
  %farther = add i64 %far, AHEAD
  %later = call ptr @address(ptr %tensors, i64 %farther)
  %soon = call ptr @address(ptr %tensors, i64 %far)
  %x0 = load ptr, ptr %soon
  %x1 = getelementptr i8, ptr %x0, i64 64
  %x2 = getelementptr i8, ptr %x0, i64 128
  %x3 = getelementptr i8, ptr %x0, i64 192
  call void @llvm.prefetch.p0(ptr %later, i32 0, i32 3, i32 1)
  call void @llvm.prefetch.p0(ptr %x0, i32 0, i32 3, i32 1)
  call void @llvm.prefetch.p0(ptr %x1, i32 0, i32 3, i32 1)
  call void @llvm.prefetch.p0(ptr %x2, i32 0, i32 3, i32 1)
  call void @llvm.prefetch.p0(ptr %x3, i32 0, i32 3, i32 1)
  %x = call ptr @address(ptr %tensors, i64 %i)
  ret ptr %x
}
"""
# a function goes through n things, from a result so far, %found, to %found.next; "stop" leaves with -1
FUNCTION = """
define i64 @{name}(ptr %table) {{
entry:
  %n = call i64 @word(ptr %table, i64 0)
{start}
  br label %head
head:
  %i = phi i64 [0, %entry], [%i.next, %next]
  %found = phi i64 [0, %entry], [%found.next, %next]
  %inside = icmp slt i64 %i, %n
  br i1 %inside, label %body, label %done
body:
{body}
  %i.next = add i64 %i, 1
  br label %head
done:
  ret i64 %found
stop:
  ret i64 -1
}}
"""
# stores the address of each tensor and a hash of all else that can change: dtype, sizes, strides and storage size; of
# gradients, which come after the `stay` bound tensors, also device and storage offset (a bound one that moves has
# another address). Returns 0 if nothing moved, 1 if only gradients moved, 2 or more if a bound tensor moved or a hash
# differs, and -1 if a question failed or an address is not above `lows`: the memory was freed
LOOK = """
  %x = call ptr @tensor(ptr %tensors, i64 %i)
  %r1 = call i32 %data_ptr(ptr %x, ptr %a)
  %r2 = call i32 %sizes(ptr %x, ptr %z)
  %r3 = call i32 %strides(ptr %x, ptr %s)
  %r4 = call i32 %dim(ptr %x, ptr %d)
  %r5 = call i32 %dtype(ptr %x, ptr %t)
  %r6 = call i32 %storage_size(ptr %x, ptr %e)
  %r12 = or i32 %r1, %r2
  %r34 = or i32 %r3, %r4
  %r56 = or i32 %r5, %r6
  %r1234 = or i32 %r12, %r34
  %r16 = or i32 %r1234, %r56
  %stays = icmp slt i64 %i, %stay
  br i1 %stays, label %known, label %new
known:
  br label %asked
new:
  %n1 = call i32 %storage_offset(ptr %x, ptr %o)
  %n2 = call i32 %device_type(ptr %x, ptr %v)
  %n3 = call i32 %device_index(ptr %x, ptr %w)
  %n12 = or i32 %n1, %n2
  %n123 = or i32 %n12, %n3
  %offset = load i64, ptr %o
  %device = load i32, ptr %v
  %device.wide = zext i32 %device to i64
  %device.high = shl i64 %device.wide, 16
  %which = load i32, ptr %w
  %which.wide = zext i32 %which to i64
  %which.high = shl i64 %which.wide, 32
  %where = or i64 %device.high, %which.high
  %placed = call i64 @mix(i64 %offset, i64 %where)
  br label %asked
asked:
  %place = phi i64 [0, %known], [%placed, %new]
  %r7 = phi i32 [0, %known], [%n123, %new]
  %wrong = or i32 %r16, %r7
  %fine = icmp eq i32 %wrong, 0
  br i1 %fine, label %answered, label %stop
answered:
  %address = load i64, ptr %a
  %low = call i64 @word(ptr %lows, i64 %i)
  %exists = icmp sgt i64 %address, %low
  br i1 %exists, label %there, label %stop
there:
  %conj = call zeroext i1 %is_conj(ptr %x)
  %neg = call zeroext i1 %is_neg(ptr %x)
  %conj.wide = select i1 %conj, i64 256, i64 0
  %neg.wide = select i1 %neg, i64 512, i64 0
  %type = load i32, ptr %t
  %type.wide = zext i32 %type to i64
  %flags = or i64 %conj.wide, %neg.wide
  %first = or i64 %flags, %type.wide
  %bytes = load i64, ptr %e
  %second = call i64 @mix(i64 %first, i64 %bytes)
  %third = call i64 @mix(i64 %second, i64 %place)
  %size = load ptr, ptr %z
  %stride = load ptr, ptr %s
  %dims = load i64, ptr %d
  br label %mix
mix:
  %j = phi i64 [0, %there], [%j.next, %more]
  %kind = phi i64 [%third, %there], [%kind.next, %more]
  %left = icmp slt i64 %j, %dims
  br i1 %left, label %more, label %next
more:
  %length = call i64 @word(ptr %size, i64 %j)
  %step = call i64 @word(ptr %stride, i64 %j)
  %kind.half = call i64 @mix(i64 %kind, i64 %length)
  %kind.next = call i64 @mix(i64 %kind.half, i64 %step)
  %j.next = add i64 %j, 1
  br label %mix
next:
  %moved = call i64 @exchange(ptr %addresses, i64 %i, i64 %address)
  %other = call i64 @exchange(ptr %kinds, i64 %i, i64 %kind)
  %weight = select i1 %stays, i64 2, i64 1
  %moved.weighed = mul i64 %moved, %weight
  %other.weighed = shl i64 %other, 1
  %news = or i64 %moved.weighed, %other.weighed
  %found.next = or i64 %found, %news"""
# stores the address of each gradient's at::Tensor; returns how many there are
GRADIENTS = """
  %x = call ptr @tensor(ptr %tensors, i64 %i)
  %impl = load ptr, ptr %x
  %g = call ptr %grad(ptr %impl)
  %to = getelementptr ptr, ptr %out, i64 %i
  store ptr %g, ptr %to
  %g.impl = load ptr, ptr %g
  %there = icmp ne ptr %g.impl, %nothing
  %one = zext i1 %there to i64
  br label %next
next:
  %found.next = add i64 %found, %one"""
WRITTEN = """
  %x = call ptr @tensor(ptr %tensors, i64 %i)
  call void %bump_version(ptr %x)
  br label %next
next:
  %found.next = add i64 %found, 1"""
# returns the number of values in all boxes if they are the known ones, else -1
HOLD = """
  %far = add i64 %i, AHEAD
  %later = call ptr @address(ptr %boxes, i64 %far)
  call void @llvm.prefetch.p0(ptr %later, i32 0, i32 3, i32 1)
  %box = call ptr @address(ptr %boxes, i64 %i)
  %length = call i64 @word(ptr %lengths, i64 %i)
  %found.next = add i64 %found, %length
  store i64 0, ptr %position
  %now = call i64 %PyX_Size(ptr %box)
  %long = icmp eq i64 %now, %length
  br i1 %long, label %each, label %stop
each:
  %j = phi i64 [%found, %body], [%j.next, %compare]
  %left = icmp slt i64 %j, %found.next
  br i1 %left, label %compare, label %next
compare:
  VALUE
  %known = call i64 @word(ptr %values, i64 %j)
  %j.next = add i64 %j, 1
  %is = icmp eq i64 %x, %known
  br i1 %is, label %each, label %stop
next:"""


SPACE = {
    **dict.fromkeys(("a", "d", "e", "o", "position", "value"), "i64"),
    **dict.fromkeys(("z", "s", "key"), "ptr"),
    **dict.fromkeys(("t", "v", "w"), "i32"),
}
NEXT = """call i32 %PyDict_Next(ptr %box, ptr %position, ptr %key, ptr %value)
  %x = load i64, ptr %value"""
ITEM = """%at = sub i64 %j, %found
  %x = call i64 %PyList_GetItem(ptr %box, i64 %at)"""
FUNCTIONS = {  # what is in the table after n, and the text
    "look": (
        "tensors addresses kinds lows stay data_ptr sizes strides dim dtype storage_size storage_offset device_type "
        "device_index is_conj is_neg",
        LOOK,
    ),
    "gradients": ("tensors out nothing grad", GRADIENTS),
    "written": ("tensors bump_version", WRITTEN),
    "dicts": ("boxes lengths values PyDict_Size PyDict_Next", HOLD.replace("X_", "Dict_").replace("VALUE", NEXT)),
    "lists": ("boxes lengths values PyList_Size PyList_GetItem", HOLD.replace("X_", "List_").replace("VALUE", ITEM)),
}


def text() -> str:
    """The whole module."""
    made = [PARTS]
    for name, (fields, body) in FUNCTIONS.items():
        start = [f"  %{x} = alloca {kind}" for x, kind in SPACE.items()]
        for i, x in enumerate(fields.split(), 1):
            start.append(f"  %{x} = call {'i64 @word' if x == 'stay' else 'ptr @address'}(ptr %table, i64 {i})")
        made.append(FUNCTION.format(name=name, start="\n".join(start), body=body))
    return "".join(made).replace("AHEAD", str(AHEAD))


class Native:
    """The functions, and what they call. Raises OSError, AttributeError or ValueError where something is missing."""

    def __init__(self):
        folder = Path(torch.__file__).parent / "lib"
        files = [str(x) for x in folder.iterdir() if x.stem in ("libtorch_cpu", "libc10")]
        libraries = [ctypes.CDLL(file) for file in files]
        called = {k: next(getattr(x, name) for x in libraries if hasattr(x, name)) for k, name in TORCH.items()}
        called |= {k: getattr(ctypes.pythonapi, k) for k in PYTHON}
        self.called = {k: ctypes.cast(x, ctypes.c_void_p).value or 0 for k, x in called.items()}
        self.code = Code(text(), list(FUNCTIONS))
        # the GIL is kept: no other thread may exchange a tensor meanwhile
        made = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
        self.functions = {name: made(address) for name, address in self.code.address.items()}
        self.slot = slot()
        self.spare, found = zeros(1), array("q", [0])
        self.called["nothing"] = 0  # what the gradient of a tensor is that has none
        self.bind("gradients", 1, tensors=self.names([self.spare]), out=found)()
        self.called["nothing"] = ctypes.c_int64.from_address(found[0]).value

    def names(self, tensors: Sequence[Tensor], more: int = 0) -> array[int]:
        """The addresses of the at::Tensor of each, with room for more. The caller keeps the tensors alive."""
        return array("q", [id(x) + self.slot for x in (*tensors, *[self.spare] * (more + 2 * AHEAD))])

    def bind(self, name: str, n: int, **given: array[int] | int) -> Callable[[], int]:
        """A function with its table. What is in the arrays may change; what they name must be kept by others."""
        words = [x.buffer_info()[0] if isinstance(x, array) else x for x in given.values()]
        table = array("q", [n, *words, *(self.called[k] for k in FUNCTIONS[name][0].split() if k not in given)])
        bound: Any = partial(self.functions[name], table.buffer_info()[0])
        bound.kept = table, given, self
        return bound


def slot() -> int:
    """The offset of the at::Tensor in a tensor's Python object. Raises ValueError where it is not found."""
    a, b = zeros(1), torch.nn.Parameter(zeros(1))

    def places(x: Any) -> set[int]:
        words = range(0, torch.Tensor.__basicsize__, 8)
        return {i for i in words if ctypes.c_int64.from_address(id(x) + i).value == x._cdata}

    (found,) = places(a) & places(b)
    return found


zeros = partial(torch.zeros, device="cpu")  # a default device may be another


@cache
@torch.inference_mode(False)
def native() -> Native | None:
    """The functions; None where they are not to be had, or do not say what torch and Python say."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():  # nothing would keep other threads away
        return None
    try:
        made = Native()
        return made if tried(made) else None
    except (OSError, ValueError, AttributeError, StopIteration):
        return None


def tried(made: Native) -> bool:
    """True if the functions are right about a few tensors and a dict."""
    x, c = zeros(5, 4, dtype=torch.float64)[1:, :2], zeros(2, dtype=torch.complex64)
    # neighbours are alike in all but one thing
    tensors = [x.t(), x, x.as_strided((2, 4), (4, 1)), x[:2], x[1:3], x.view(torch.int64)]
    tensors += [c, c.conj(), c.conj().imag, c.imag, zeros(0), torch.zeros(0, device="meta")]
    tensors.append(zeros(6, 4, dtype=torch.float64)[1:5, :2])  # as the second, in larger memory
    count = len(tensors)
    addresses, kinds, lows = array("q", bytes(8 * count)), array("q", bytes(8 * count)), array("q", [-1] * count)
    given = {"tensors": made.names(tensors), "addresses": addresses, "kinds": kinds, "lows": lows}
    look = made.bind("look", count, **given, stay=1)
    looked = look() == 3 and look() == 0 and list(addresses) == [t.data_ptr() for t in tensors]
    looked = looked and len(set(kinds)) == count
    lows[3] = addresses[3]  # as if it were freed
    looked = looked and look() == -1

    a, b, out = torch.nn.Parameter(zeros(1)), torch.nn.Parameter(zeros(1)), array("q", [0, 0])
    a.grad, version = zeros(1), a._version
    find = made.bind("gradients", 2, tensors=made.names([a, b]), out=out)
    written = made.bind("written", 1, tensors=made.names([a]))
    asked = find() == 1 and ctypes.c_int64.from_address(out[0]).value == a.grad._cdata
    asked = asked and written() == 1 and a._version == version + 1

    for name, box in ("dicts", {1: a, 2: b}), ("lists", [a, b]):
        lengths, values = array("q", [2]), array("q", [id(a), id(b)])
        hold = made.bind(name, 1, boxes=array("q", [id(box)] * (1 + AHEAD)), lengths=lengths, values=values)
        asked = asked and hold() == 2
        values[1] += 1
        asked = asked and hold() == -1
    return looked and asked

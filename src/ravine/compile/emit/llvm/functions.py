"""Functions that the machine has no instruction for, as IR that the loop vectorizer takes with it."""

from ravine.compile.emit.llvm.body import constant

# The cube root: 1/∛a from a guess to 4 %, made of a third of the exponent's bits, by Householder's method of order 3,
# which triples the digits and never divides; then a step of Newton's on a (1/∛a)².
CBRT = """
define internal {t} @cbrt.{s}({t} %x) alwaysinline {{
  %abs = call {t} @llvm.fabs.{s}({t} %x)
  %small = fcmp olt {t} %abs, {least}
  %large = fmul {t} %abs, {up}
  %a = select i1 %small, {t} %large, {t} %abs
  %scale = select i1 %small, {t} {down}, {t} 1.0
  %bits = bitcast {t} %a to {i}
  %length = sitofp {i} %bits to {t}
  %place = call {t} @llvm.fma.{s}({t} %length, {t} {minus_third}, {t} {magic})
  %guess = fptosi {t} %place to {i}
  %y0 = bitcast {i} %guess to {t}
{steps}  %square = fmul {t} %y{last}, %y{last}
  %near = fmul {t} %a, %square
  %near2 = fmul {t} %near, %near
  %minus = fneg {t} %near2
  %rest = call {t} @llvm.fma.{s}({t} %minus, {t} %near, {t} %a)
  %slope = fmul {t} %square, {one_third}
  %exact = call {t} @llvm.fma.{s}({t} %rest, {t} %slope, {t} %near)
  %infinite = fcmp oeq {t} %a, 0x7FF0000000000000
  %back = fmul {t} %exact, %scale
  %root = select i1 %infinite, {t} %abs, {t} %back
  %sign = call {t} @llvm.copysign.{s}({t} %root, {t} %x)
  ret {t} %sign
}}
"""
HOUSEHOLDER = """  %s{n} = fmul {t} %y{m}, %y{m}
  %b{n} = fmul {t} %a, %y{m}
  %c{n} = fneg {t} %b{n}
  %d{n} = call {t} @llvm.fma.{s}({t} %c{n}, {t} %s{n}, {t} 1.0)
  %e{n} = call {t} @llvm.fma.{s}({t} %d{n}, {t} {two_ninths}, {t} {one_third})
  %f{n} = fmul {t} %d{n}, %e{n}
  %y{n} = call {t} @llvm.fma.{s}({t} %y{m}, {t} %f{n}, {t} %y{m})
"""
# what a third of the bits is taken from, steps; below `least` (the smallest normal number) x is scaled by 2²⁴ or 2⁵⁴
KINDS = {
    "float": ("f32", "i32", 1419072167, 2, 2.0**-126, 2.0**24, 2.0**-8),
    "double": ("f64", "i64", 6142158923323058858, 3, 2.0**-1022, 2.0**54, 2.0**-18),
}


def cbrt(t: str) -> str:
    """The definition for one type."""
    s, i, magic, count, *scales = KINDS[t]
    least, up, down = (constant(x, t) for x in scales)
    known = {
        "t": t,
        "s": s,
        "i": i,
        "one_third": constant(1 / 3, t),
        "minus_third": constant(-1 / 3, t),
        "two_ninths": constant(2 / 9, t),
    }
    steps = "".join(HOUSEHOLDER.format(n=n + 1, m=n, **known) for n in range(count))
    return CBRT.format(magic=constant(magic, t), steps=steps, last=count, least=least, up=up, down=down, **known)


# Standard normal numbers: Philox 4x32-10 (Salmon et al. 2011) with the key (seed, index) at the counters (i, t), then
# Box and Muller. The logarithm and the sine are the usual polynomials, to float32's precision.
ROUND = """  %h0.{n} = zext i32 %c0.{m} to i64
  %p0.{n} = mul i64 %h0.{n}, 3528531795
  %h1.{n} = zext i32 %c2.{m} to i64
  %p1.{n} = mul i64 %h1.{n}, 3449720151
  %u0.{n} = lshr i64 %p0.{n}, 32
  %u1.{n} = lshr i64 %p1.{n}, 32
  %high0.{n} = trunc i64 %u0.{n} to i32
  %high1.{n} = trunc i64 %u1.{n} to i32
  %c3.{n} = trunc i64 %p0.{n} to i32
  %c1.{n} = trunc i64 %p1.{n} to i32
  %x0.{n} = xor i32 %high1.{n}, %c1.{m}
  %c0.{n} = xor i32 %x0.{n}, %k0.{m}
  %x1.{n} = xor i32 %high0.{n}, %c3.{m}
  %c2.{n} = xor i32 %x1.{n}, %k1.{m}
  %k0.{n} = add i32 %k0.{m}, -1640531527
  %k1.{n} = add i32 %k1.{m}, -1150833019
"""
NORMAL = (
    """
define internal float @normal(i32 %k0.0, i32 %k1.0, i64 %i, i32 %c2.0) alwaysinline {
  %c0.0 = trunc i64 %i to i32
  %i.up = lshr i64 %i, 32
  %c1.0 = trunc i64 %i.up to i32
  %c3.0 = add i32 0, 0
"""
    + "".join(ROUND.format(n=n + 1, m=n) for n in range(10))
    + """  %b0 = lshr i32 %c0.10, 8
  %b1 = lshr i32 %c1.10, 8
  %f0 = uitofp i32 %b0 to float
  %f1 = uitofp i32 %b1 to float
  %g0 = fadd float %f0, 0.5
  %g1 = fadd float %f1, 0.5
  %u = fmul float %g0, 0x3E70000000000000
  %v = fmul float %g1, 0x3E70000000000000
  %bits = bitcast float %u to i32
  %shifted = sub i32 %bits, 1060439283
  %e = ashr i32 %shifted, 23
  %e.bits = shl i32 %e, 23
  %m.bits = sub i32 %bits, %e.bits
  %m = bitcast i32 %m.bits to float
  %f = fsub float %m, 1.0
  %f2 = fadd float %f, 2.0
  %s = fdiv float %f, %f2
  %z = fmul float %s, %s
  %l4 = fmul float %z, {L4}
  %l3 = fadd float %l4, {L3}
  %l3z = fmul float %l3, %z
  %l2 = fadd float %l3z, {L2}
  %l2z = fmul float %l2, %z
  %l1 = fadd float %l2z, {L1}
  %R = fmul float %l1, %z
  %ff = fmul float %f, %f
  %half = fmul float %ff, 0.5
  %hr = fadd float %half, %R
  %shr = fmul float %s, %hr
  %tail = fsub float %shr, %half
  %fine = fadd float %tail, %f
  %ef = sitofp i32 %e to float
  %coarse = fmul float %ef, {LN2}
  %log = fadd float %coarse, %fine
  %two = fmul float %log, -2.0
  %radius = call float @llvm.sqrt.f32(float %two)
  %centre = fsub float %v, 0.5
  %q = call float @llvm.fabs.f32(float %centre)
  %a = fsub float %q, 0.25
  %w = fmul float %a, {TAU}
  %ww = fmul float %w, %w
  %s5 = fmul float %ww, {S5}
  %s4 = fadd float %s5, {S4}
  %s4w = fmul float %s4, %ww
  %s3 = fadd float %s4w, {S3}
  %s3w = fmul float %s3, %ww
  %s2 = fadd float %s3w, {S2}
  %s2w = fmul float %s2, %ww
  %s1 = fadd float %s2w, {S1}
  %s1w = fmul float %s1, %ww
  %s0 = fmul float %s1w, %w
  %sine = fadd float %s0, %w
  %n = fmul float %radius, %sine
  ret float %n
}
"""
)
# log(1 + f) = f − f²/2 + s (f²/2 + R(s²)) with s = f / (2 + f); sin w = w + w³ (S1 + …); cos 2πv = sin 2π(|v − ½| − ¼)
CONSTANTS = {
    "L1": 0.66666662693,
    "L2": 0.40000972152,
    "L3": 0.28498786688,
    "L4": 0.24279078841,
    "LN2": 0.6931471805599453,
    "TAU": 6.283185307179586,
    "S1": -1 / 6,
    "S2": 1 / 120,
    "S3": -1 / 5040,
    "S4": 1 / 362880,
    "S5": -1 / 39916800,
}

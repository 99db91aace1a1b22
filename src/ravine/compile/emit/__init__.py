"""One file per way to run or read a plan: reference (torch), llvm (CPU), triton (CUDA), host, latex."""

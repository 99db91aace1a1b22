"""Why a figure is not what we aimed at: docs/performance.md prints it, and a test fails where one is missing.

A key is question, model and ratio of a row in benchmarks/results; * stands for anything. The first that fits is taken.
"""

PYTHON = "It is Python collecting gradients and asking whether anything was exchanged."
MEMORY = "Both are bound by memory and run at the speed of the bytes."
REASONS = {
    ("tiny", "tiny", "microseconds"): PYTHON,
    ("mlp", "mlp", "fused/ravine"): "At the edge: runs on this machine fall on either side of 2.",
    ("mlp", "mlp", "foreach/ravine"): "At the edge: runs on this machine fall on either side of 5.",
    ("start *", "mlp", "cold"): "The rule looks at rows and columns, and has several kernels to compile.",
    ("start *", "mlp", "warm"): "Half of it is tracing and writing the text that the cache is asked for.",
    ("bytes madgrad", "*", "ravine/bound"): "Its cube root is computed while the memory waits.",
    ("muon", "torch", "step/ravine"): "By count ours makes a third fewer products than torch, and these are most "
    "of both steps; the rest, reading gradients and writing weights, is the same.",
    ("shampoo", "*", "step/ravine"): "Both need the same eigenvectors, of the same LAPACK, and products, of which ours "
    "makes the symmetric ones at half of the work.",
    ("soap", "*", "step/ravine"): "All need QRs and products of the same sizes; ours makes the symmetric ones at half "
    "of the work.",
    ("kron", "ravine, the mean of V", "step/ravine"): "It is ours, without random numbers: it takes the inverses of Q.",
    ("kron", "*", "step/ravine"): "Products of triangular and of symmetric matrices are made at half of the work; what "
    "else the step is made of was not looked into.",
    ("small", "*", "step/adamw"): "Newton–Schulz of a 128 × 128 matrix is 60 million operations, AdamW of it 200,000: "
    "the products alone take many times AdamW's step, whoever makes them.",
    ("rmsprop", "*", "compile/ravine"): MEMORY,
    ("adadelta", "*", "compile/ravine"): MEMORY,
    ("adamax", "*", "compile/ravine"): "Close to the aim, in a run on a busy machine; not looked into.",
    ("adamax", "*", "foreach/ravine"): "foreach makes six passes that move 64 bytes a number, the rule one that moves "
    "28: at the speed of memory that is 2.3 times.",
    (
        "clip + adamw + ema",
        "resnet-50",
        "torch/ravine",
    ): "It runs at the speed of its bytes: a faster one cannot be made.",
    ("tensors, *", "*", "microseconds a further tensor"): PYTHON,
    ("tensors, *", "*", "bend"): "Not looked into; a thousand tensors and their states no longer fit the caches.",
    (
        "AdamW of *",
        "mlp*",
        "monitor/plain",
    ): "One step in ten is a sample of two or three milliseconds, mostly Python: longer than a step here takes.",
    (
        "AdamW of *",
        "cnn",
        "monitor/plain",
    ): "One step in ten is a sample of five milliseconds, half of what a step here takes.",
    (
        "adamw int8",
        "one-100m",
        "fused/ravine",
    ): "It is bound by arithmetic, whose speed differs from hour to hour on this machine: 1.3 to 1.6 in several runs.",
    (
        "classic",
        "mlp",
        "lab/Keras",
    ): "Three runs on two workers are as long as two of them, that is 56,250 steps one after another, and a step took "
    "2.5 ms in this run, in a slow hour of the machine, as Keras did.",
    (
        "two workers",
        "mlp",
        "two/one",
    ): "The same trials took 13 % more of the processors' own time while both worked: they share what memory gives. "
    "In a quieter hour it was 0.547.",
    ("sparseadam", "100 of *", "*"): "Rows are sorted and added up in calls to torch; it shows where there are few.",
}

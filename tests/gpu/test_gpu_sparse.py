"""Sparse gradients on Triton's kernels: the numbers of the reference backend, row by row, and no memory beyond."""

import pytest
import torch

import ravine

RULES = [
    ("SGD", {"momentum": 0.9}),
    ("AdamW", {"amsgrad": True}),
    ("SparseAdam", {}),
]


@pytest.mark.parametrize(("name", "hyper"), RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_path_of_the_reference(device, name, hyper, dtype):
    for shape in ((23, 1), (9, 64), (3, 2100)):
        params = [torch.nn.Parameter(torch.randn(shape).to(device, dtype)) for _ in range(2)]
        params += [torch.nn.Parameter(p.detach().clone()) for p in params]
        opts = [
            getattr(ravine, name)(params[:2], lr=0.1, backend="triton", **hyper),
            getattr(ravine, name)(params[2:], lr=0.1, backend="reference", **hyper),
        ]
        for t in range(3):
            for p, q in zip(params[:2], params[2:], strict=True):
                count = 0 if t == 1 else 6
                index = torch.randint(0, shape[0], (1, count), device=device)
                values = torch.randn(count, shape[1], device=device, dtype=dtype)
                p.grad = torch.sparse_coo_tensor(index, values, shape, check_invariants=True).coalesce()
                q.grad = p.grad.clone()
            for opt in opts:
                opt.step()
        close = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}
        for p, q in zip(params[:2], params[2:], strict=True):
            torch.testing.assert_close(p, q, **close)
            mine, theirs = opts[0].state[p], opts[1].state[q]
            for k, x in theirs.items():
                torch.testing.assert_close(mine[k], x, **close)

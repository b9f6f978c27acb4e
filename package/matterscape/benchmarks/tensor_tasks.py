"""The basis of maximally coupled tensors beside the same couplings written with dense tables."""

from matterscape.benchmarks.task import Calls, Task


def _tensor_basis(n_samples: int) -> Calls:
    """Values and gradients of order 2; the other call is the chain of couplings with ``torch.einsum``.

    The peer takes the tables of e3nn, where that is installed; their sign and scale do not change the cost.
    """
    import torch

    from matterscape.descriptors.tensor_basis import maximally_coupled

    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(n_samples, 3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    weights = torch.randn(n_samples, 5, 5, generator=generator, dtype=torch.float64)

    def ours() -> torch.Tensor:
        return torch.autograd.grad((maximally_coupled(vectors, 2) * weights).sum(), vectors)[0]

    try:
        from e3nn.o3 import wigner_3j
    except ImportError:
        return ours, None
    table = wigner_3j(1, 1, 2, dtype=torch.float64)

    def peer() -> torch.Tensor:
        first, second, third = vectors.unbind(dim=2)
        couples = ((second, second), (first, second), (first, first), (second, third), (first, third))
        columns = [torch.einsum("abM,na,nb->nM", table, left, right) for left, right in couples]
        return torch.autograd.grad((torch.stack(columns, dim=2) * weights).sum(), vectors)[0]

    return ours, peer


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "tensor-basis",
            "tensors of order 2 from three vectors of 10 000 atoms, with gradients",
            "torch.einsum with the tables of e3nn",
            _tensor_basis,
            10_000,
            16,
        ),
    )
}

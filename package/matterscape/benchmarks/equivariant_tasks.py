"""Equivariant features: Clebsch-Gordan products with their gradients, and correlations of a density."""

from matterscape.benchmarks.task import Calls, Task

CHANNELS = 12
PAIRS = 20_000
SILICON = {"max_radial": 6, "max_angular": 5, "cutoff": 5.0, "smearing": 0.3}


def _factors(l1: int, l2: int, rows: int):
    import torch

    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(rows, 2 * l + 1, CHANNELS, dtype=torch.float64, generator=generator).requires_grad_()
        for l in (l1, l2)
    ]


def _with_gradients(product, factors):
    """A product and its gradients in both factors."""
    import torch

    given = torch.ones_like(product())

    def call():
        return torch.autograd.grad(product(), factors, given)

    return call


def _couple(size: tuple[int, int]) -> Calls:
    """One product of degree l with l to l; the other call is einsum with the dense coefficients."""
    import torch

    from matterscape.basis import clebsch_gordan
    from matterscape.descriptors.coupling import couple

    angular, rows = size
    first, second = _factors(angular, angular, rows)
    dense = torch.tensor(clebsch_gordan(angular, angular, angular))
    return (
        _with_gradients(lambda: couple(first, second, angular), (first, second)),
        _with_gradients(lambda: torch.einsum("smq,snr,mnM->sMqr", first, second, dense), (first, second)),
    )


def _full_product(size: tuple[int, int]) -> Calls:
    """All products of all degrees up to a largest one, in one call."""
    import torch

    from matterscape.descriptors.equivariants import Equivariants, product

    largest, rows = size
    degrees = range(largest + 1)
    factors = [
        Equivariants({(1, l): block for l, block in zip(degrees, blocks)})
        for blocks in zip(*(_factors(l, l, rows) for l in degrees))
    ]
    packed = [part.packed.detach().requires_grad_() for part in factors]
    ours = [Equivariants.from_packed(rows_of, part.channels) for rows_of, part in zip(packed, factors)]
    call = _with_gradients(lambda: product(*ours).packed, packed)
    try:
        from e3nn.o3 import FullTensorProduct
    except ImportError:
        return call, None
    # e3nn's blocks are (channels, 2 l + 1); numbers of equal size serve as well
    irreps = "+".join(f"{CHANNELS}x{l}{'eo'[l % 2]}" for l in degrees)
    peer = FullTensorProduct(irreps, irreps).to(torch.float64)
    return call, _with_gradients(lambda: peer(*packed), packed)


def _correlations(n_repeat: int) -> Calls:
    """Correlations of order two, all degrees up to 10, without those that exchange the factors of others."""
    from ase.build import bulk

    from matterscape.descriptors import SphericalExpansion
    from matterscape.descriptors.equivariants import correlations
    from matterscape.structures import Structures

    atoms = bulk("Si", cubic=True).repeat((n_repeat,) * 3)
    atoms.rattle(0.05, seed=0)
    expansion = SphericalExpansion([14], **SILICON)
    density = expansion(Structures.from_ase(atoms)).detach()
    largest = 2 * expansion.max_angular

    def ours():
        return correlations(density, 2, largest, sorted_degrees=True)[-1]

    peer = _peer_density(density, largest)
    return ours, peer


def _peer_density(density, largest: int):
    """featomic's correlations of the same numbers."""
    try:
        import featomic.clebsch_gordan
        import metatensor
    except ImportError:
        return None
    import numpy as np

    n_samples, _, n_channels = density.shape
    samples = metatensor.Labels(["system", "atom"], np.array([[0, i] for i in range(n_samples)]))
    properties = metatensor.Labels(["n"], np.arange(n_channels)[:, None])
    degrees = range(largest // 2 + 1)
    blocks = [
        metatensor.TensorBlock(
            density[:, l * l : (l + 1) ** 2].numpy().copy(),
            samples,
            [metatensor.Labels(["o3_mu"], np.arange(-l, l + 1)[:, None])],
            properties,
        )
        for l in degrees
    ]
    keys = metatensor.Labels(["o3_lambda", "o3_sigma"], np.array([[l, 1] for l in degrees]))
    tensor = metatensor.TensorMap(keys, blocks)
    calculator = featomic.clebsch_gordan.DensityCorrelations(n_correlations=1, max_angular=largest, skip_redundant=True)
    return lambda: calculator.compute(tensor)


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "couple",
            f"product (4, 4 -> 4) and gradients, {PAIRS} pairs, {CHANNELS} x {CHANNELS} channels",
            "torch.einsum",
            _couple,
            (4, PAIRS),
            (4, 10),
        ),
        Task(
            "full-product",
            f"all products of l up to 2 and gradients, {PAIRS // 10} pairs, {CHANNELS} x {CHANNELS} channels",
            "e3nn",
            _full_product,
            (2, PAIRS // 10),
            (2, 10),
        ),
        Task(
            "density-correlations",
            "order two of 512 silicon atoms, 6 radial functions, l up to 5 and 10",
            "featomic",
            _correlations,
            4,
            1,
        ),
    )
}

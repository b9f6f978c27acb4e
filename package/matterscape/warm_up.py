"""Compile every kernel once so that later sessions load it from numba's cache: ``python -m matterscape.warm_up``."""

import time

import torch


def main() -> None:
    """Run each kernel of the package on a small input, values and derivatives, in double and single precision."""
    from ase.build import bulk, molecule

    from matterscape.basis import spherical_harmonics, spherical_harmonics_with_gradients
    from matterscape.descriptors import PowerSpectrum, forces
    from matterscape.structures import Structures

    start = time.perf_counter()
    structures = Structures.from_ase([bulk("Si", cubic=True), molecule("CH4")])
    for dtype in (torch.float64, torch.float32):
        batch = structures.to(dtype=dtype).with_gradients(strain=True)
        soap = PowerSpectrum(structures.unique_species, cutoff=3.0, max_radial=2, max_angular=2)
        weights = torch.ones(soap.n_features, dtype=dtype, requires_grad=True)
        force = forces((soap(batch) @ weights).sum(), batch, training=True)
        torch.autograd.grad(force.square().sum(), weights)

        vectors = batch.positions.detach()[1:8].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(spherical_harmonics(vectors, 2).sum(), vectors, create_graph=True)
        gradient.square().sum().backward()
        spherical_harmonics_with_gradients(vectors.detach(), 2)
    print(f"matterscape: kernels are compiled ({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()

"""Forces and stresses of anything that is computed from features."""

import torch

from matterscape.kernels import parameters_only
from matterscape.structures import Structures


def forces(
    energy: torch.Tensor, structures: Structures, *, stress: bool = False, training: bool = False
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Forces, and stresses if asked for, from one backward pass; the Jacobian of the features is never formed.

    Parameters
    ----------
    energy : tensor
        Any differentiable function of the structures in eV; energies of several structures are summed, which leaves the
        force on each atom as it is.
    structures : Structures
        The batch that the energy came from, made by :meth:`Structures.with_gradients`.
    stress : bool
        Also return stresses (n_structures, 3, 3); needs ``with_gradients(strain=True)`` and cells.
    training : bool
        Keep the graph so that a loss on the forces can be differentiated with respect to parameters. Second derivatives
        with respect to positions are left out of it; for these call ``torch.autograd.grad`` with ``create_graph=True``.

    Returns
    -------
    tensor (n_atoms, 3) in eV/Å, or a tuple with the stresses in eV/Å^3, positive under tension.

    Raises
    ------
    ValueError
        If the structures carry no gradients, or stresses are asked for without strain or without a cell.
    """
    if not structures.leaf_positions.requires_grad:
        raise ValueError(
            "structures carries no gradients; make it with structures.with_gradients() before the features"
        )
    inputs = [structures.leaf_positions]
    if stress:
        if structures.strain is None:
            raise ValueError("structures carries no strain; make it with structures.with_gradients(strain=True)")
        if bool((structures.volumes == 0).any()):
            index = int((structures.volumes == 0).nonzero()[0])
            raise ValueError(f"structure {index} has no cell, so its stress is not defined; ask for forces only")
        inputs.append(structures.strain)
    if training:
        with parameters_only():
            gradients = torch.autograd.grad(energy.sum(), inputs, create_graph=True)
    else:
        gradients = torch.autograd.grad(energy.sum(), inputs)
    if not stress:
        return -gradients[0]
    virial = 0.5 * (gradients[1] + gradients[1].transpose(1, 2))
    return -gradients[0], virial / structures.volumes.detach()[:, None, None]

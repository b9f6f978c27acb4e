"""What a batch of structures must be; every message names the structure and what is accepted."""

import torch

MAX_ATOMIC_NUMBER = 118
SINGULAR = 1e-6  # shortest height of a periodic cell over its longest edge


def check_tensors(
    positions: torch.Tensor,
    species: torch.Tensor,
    structure_index: torch.Tensor,
    cells: torch.Tensor,
    pbc: torch.Tensor,
) -> None:
    """Shapes, dtypes and devices of the tensors of a batch.

    Raises
    ------
    TypeError, ValueError
        Naming the tensor, what it is and what is accepted.
    """
    if positions.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"positions are {positions.dtype}; accepted are torch.float32 and torch.float64")
    if cells.dtype != positions.dtype:
        raise TypeError(f"cells are {cells.dtype} but positions are {positions.dtype}; give both the same dtype")
    for name, tensor in {"species": species, "structure_index": structure_index}.items():
        if tensor.dtype != torch.int64:
            raise TypeError(f"{name} is {tensor.dtype}; accepted is torch.int64")
    if pbc.dtype != torch.bool:
        raise TypeError(f"pbc is {pbc.dtype}; accepted is torch.bool")
    tensors = {
        "positions": positions,
        "species": species,
        "structure_index": structure_index,
        "cells": cells,
        "pbc": pbc,
    }
    devices = {name: tensor.device for name, tensor in tensors.items()}
    if len(set(devices.values())) > 1:
        where = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(f"tensors are on different devices ({where}); put all of them on one device")
    n_atoms = positions.shape[0] if positions.ndim else 0
    shapes = {
        "positions": (n_atoms, 3),
        "species": (n_atoms,),
        "structure_index": (n_atoms,),
        "cells": (cells.shape[0] if cells.ndim else 0, 3, 3),
        "pbc": (cells.shape[0] if cells.ndim else 0, 3),
    }
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}; accepted here is {shape}")


def check_content(
    positions: torch.Tensor,
    species: torch.Tensor,
    structure_index: torch.Tensor,
    cells: torch.Tensor,
    pbc: torch.Tensor,
) -> None:
    """Values of a batch: finite, known species, no empty structure, periodic axes with a cell.

    Raises
    ------
    ValueError
        Naming the first offending structure and atom.
    """
    n_structures = cells.shape[0]
    if n_structures == 0:
        raise ValueError("structures is empty; at least one structure is needed")
    if positions.shape[0] == 0:
        raise ValueError("structure 0 has no atoms; every structure needs at least one")
    if bool((structure_index[1:] < structure_index[:-1]).any()):
        raise ValueError("structure_index is not sorted; atoms of one structure must follow each other")
    if int(structure_index[0]) < 0 or int(structure_index[-1]) >= n_structures:
        raise ValueError(
            f"structure_index runs from {int(structure_index[0])} to {int(structure_index[-1])}; "
            f"accepted is 0 to {n_structures - 1} for {n_structures} cells"
        )
    counts = torch.bincount(structure_index, minlength=n_structures)
    if bool((counts == 0).any()):
        raise ValueError(
            f"structure {int((counts == 0).nonzero()[0])} has no atoms; every structure needs at least one"
        )
    offsets = counts.cumsum(0) - counts

    def place(atom: int) -> str:
        structure = int(structure_index[atom])
        return f"structure {structure}, atom {atom - int(offsets[structure])}"

    bad = ~torch.isfinite(positions).all(dim=1)
    if bool(bad.any()):
        atom = int(bad.nonzero()[0])
        raise ValueError(f"positions of {place(atom)} are {positions[atom].tolist()}; they must be finite numbers")
    bad = (species < 1) | (species > MAX_ATOMIC_NUMBER)
    if bool(bad.any()):
        atom = int(bad.nonzero()[0])
        raise ValueError(
            f"species of {place(atom)} is {int(species[atom])}; accepted are atomic numbers 1 to {MAX_ATOMIC_NUMBER}"
        )
    _check_cells(cells.detach(), pbc)


def _check_cells(cells: torch.Tensor, pbc: torch.Tensor) -> None:
    bad = ~torch.isfinite(cells).all(dim=(1, 2))
    if bool(bad.any()):
        structure = int(bad.nonzero()[0])
        raise ValueError(f"cell of structure {structure} is {cells[structure].tolist()}; it must be finite")
    lengths = cells.norm(dim=2)
    bad = (pbc & (lengths == 0)).any(dim=1)
    if bool(bad.any()):
        structure = int(bad.nonzero()[0])
        raise ValueError(
            f"structure {structure} is periodic along {pbc[structure].tolist()} but its cell vectors have lengths "
            f"{lengths[structure].tolist()} Å; give a cell or set pbc=False"
        )
    full = completed_cells(cells, pbc)
    volumes = torch.linalg.det(full.double()).abs()
    scale = full.double().norm(dim=2).prod(dim=1)
    bad = (volumes < SINGULAR * scale) & pbc.any(dim=1)
    if bool(bad.any()):
        structure = int(bad.nonzero()[0])
        raise ValueError(
            f"cell of structure {structure} is singular (volume {float(volumes[structure]):.3g} Å^3); "
            "its periodic vectors must be linearly independent"
        )


def completed_cells(cells: torch.Tensor, pbc: torch.Tensor) -> torch.Tensor:
    """Cells (B, 3, 3) whose non-periodic vectors are replaced by unit vectors orthogonal to the periodic ones."""
    if bool(pbc.all()):
        return cells
    result = cells.clone()
    n_periodic = pbc.sum(dim=1)
    result[n_periodic == 0] = torch.eye(3, dtype=cells.dtype, device=cells.device)
    for structure in ((n_periodic > 0) & (n_periodic < 3)).nonzero().flatten().tolist():
        periodic, free = pbc[structure].nonzero().flatten(), (~pbc[structure]).nonzero().flatten()
        basis = torch.linalg.svd(cells[structure, periodic], full_matrices=True).Vh
        result[structure, free] = basis[len(periodic) :]
    return result

"""Potentials that fall as an inverse power of the distance and are summed over all periodic images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from matterscape.checks import check_number, is_number, real_array
from matterscape.potentials import _boundary
from matterscape.potentials._long_range_bound import (
    BoundPairs,
    BoundReciprocal,
    BoundTerms,
    all_pairs,
    self_energies,
    vacuum_accuracy,
)
from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.potentials.ewald import EwaldSum, ewald_operator
from matterscape.potentials.ewald_parameters import Parameters, choose_parameters
from matterscape.potentials.inverse_power import checked_exponent
from matterscape.potentials.particle_mesh import from_mean, mesh_operator
from matterscape.potentials.screened import pair_stiffness, screened_operator
from matterscape.structures import NeighbourLists, Structures

if TYPE_CHECKING:
    from matterscape.potentials.force_constants import ForceConstants

METHODS = ("auto", "ewald", "mesh")
NET_CHARGES = ("forbid", "background")
SURFACES = ("tin-foil", "vacuum")
NEUTRAL = 1e-6  # net charge over the sum of absolute charges that counts as rounding


class InversePower(Potential):
    r"""Pairs that interact as prefactor c_i c_j / r^p, summed over all periodic images.

    The sum follows the periodic directions of a structure: three take an Ewald or particle-mesh sum, two (a slab) the
    same with vacuum and a dipole correction, none (a molecule) the plain sum over all pairs. Half of each pair's energy
    belongs to either atom, its own images and the neutralising background included.

    Parameters
    ----------
    coefficients : mapping of chemical symbol to number, or tensor (n_atoms,)
        c of each species, or of each atom of the structures that the potential will be used for. Tensors may require
        gradients.
    exponent : int
        p, 1 to 9.
    prefactor : float
        eV Å^p; -1 with c = sqrt(C_6) for dispersion.
    force_error : float
        Root-mean-square error of the forces in eV/Å that the parameters of the sum are chosen for.
    relative_force_error : float, optional
        The same as a multiple of the force between two unit coefficients 1 Å apart; in place of ``force_error``.
    method : str
        ``"ewald"``, ``"mesh"``, or ``"auto"`` for the cheaper one.
    cutoff : float, optional
        Of the real-space part in Å; chosen if not given.
    parameters : Parameters, optional
        All parameters of periodic sums; none is chosen then.
    net_charge : str
        What to do with a periodic structure whose coefficients do not sum to zero, for p < 3: ``"forbid"`` or
        ``"background"``, which spreads the opposite over the cell uniformly. That adds
        2 pi^{3/2} a^{p-3} / ((p - 3) Gamma(p/2)) Q c_i / 2V to the energy of an atom (-pi Q q_i / 2 V a^2 for charges)
        and this times the unit matrix to its flux tensor, which makes both independent of the separation a; the part
        of the wave k = 0 of the smooth potential is left out. A slab takes no background, its field is that of its own
        charge. For p = 3 only neutral structures have an energy; for p > 3 any sum is accepted.
    surface : str
        Around the infinitely many cells of a crystal, for p = 1: ``"tin-foil"`` or ``"vacuum"``, which adds
        2 pi M^2 / 3V for the dipole moment M of the cell (of the positions as they are, unwrapped).

    Raises
    ------
    ValueError
        If an argument is not one of those accepted.

    Notes
    -----
    Calling the potential chooses parameters for the structures at hand. :meth:`bind` fixes them, and the waves or the
    mesh, for a run; a changing cell keeps their number, so the error follows the cell.

    A mesh has its origin at the mean of the positions as they are, unwrapped. Forces thus sum to zero, and are exact
    derivatives of an energy that does not change when all atoms move together. In exchange, a single atom that is moved
    by a cell vector changes energies within the error of the sum.
    """

    def __init__(
        self,
        coefficients: Mapping[str, float] | torch.Tensor | np.ndarray,
        exponent: int,
        *,
        prefactor: float = 1.0,
        force_error: float = 1e-4,
        relative_force_error: float | None = None,
        method: str = "auto",
        cutoff: float | None = None,
        parameters: Parameters | None = None,
        net_charge: str = "forbid",
        surface: str = "tin-foil",
    ):
        self.exponent = checked_exponent(exponent)
        check_number("prefactor", prefactor, signed=True)
        self.prefactor = float(prefactor)
        self.species, self.coefficients = _checked_coefficients(coefficients)
        if relative_force_error is not None:
            check_number("relative_force_error", relative_force_error, positive=True)
            force_error = relative_force_error * self.exponent * abs(self.prefactor)
        check_number("force_error", force_error, "eV/Å", positive=True)
        if cutoff is not None:
            check_number("cutoff", cutoff, "Å", positive=True)
        self.force_error = float(force_error)
        self.cutoff = None if cutoff is None else float(cutoff)
        for name, value, accepted in (
            ("method", method, METHODS),
            ("net_charge", net_charge, NET_CHARGES),
            ("surface", surface, SURFACES),
        ):
            if value not in accepted:
                raise ValueError(f"{name} is {value!r}; accepted are {', '.join(map(repr, accepted))}")
        if surface == "vacuum" and self.exponent != 1:
            raise ValueError(f"surface is 'vacuum' and the exponent {self.exponent}; it is defined for exponent 1")
        self.method, self.net_charge, self.surface = method, net_charge, surface
        self.parameters = parameters

    def check(self, structures: Structures) -> None:
        """Raise ``ValueError`` for atoms without a coefficient, boundaries or net charges that have no sum."""
        super().check(structures)
        if self.species is None and len(self.coefficients) != structures.n_atoms:
            raise ValueError(
                f"there are {len(self.coefficients)} coefficients but {structures.n_atoms} atoms; give one for each "
                "atom, or one for each species by a mapping"
            )
        n_periodic = structures.pbc.sum(dim=1)
        for structure in ((n_periodic == 1) | ((n_periodic == 2) & (self.exponent != 1))).nonzero().flatten().tolist():
            raise ValueError(
                f"structure {structure} is periodic along {structures.pbc[structure].tolist()}, which is not "
                f"implemented for exponent {self.exponent}; accepted are three periodic directions, none"
                + (", or two" if self.exponent == 1 else "")
                + ": put vacuum around it in a fully periodic cell"
            )
        if self.exponent > 3:
            return
        coefficients = self.site_coefficients(structures).detach()
        totals, sizes = (
            coefficients.new_zeros(structures.n_structures).index_add(0, structures.structure_index, c)
            for c in (coefficients, coefficients.abs())
        )
        charged = (totals.abs() > NEUTRAL * sizes) & (n_periodic > 0)
        if bool(charged.any()) and (self.net_charge == "forbid" or self.exponent == 3):
            structure = int(charged.nonzero()[0])
            advice = "" if self.exponent == 3 else ", or net_charge='background'"
            raise ValueError(
                f"structure {structure} is periodic and has the net charge {float(totals[structure]):.6g}; "
                f"accepted are neutral cells{advice}"
            )

    def site_coefficients(self, structures: Structures) -> torch.Tensor:
        """Coefficient of every atom (n_atoms,)."""
        if self.species is None:
            return self.coefficients.to(structures.positions)
        lookup = torch.zeros(len(chemical_symbols), dtype=torch.int64, device=structures.species.device)
        lookup[list(self.species)] = torch.arange(len(self.species), device=structures.species.device)
        return self.coefficients.to(structures.positions)[lookup[structures.species]]

    def parameters_for(self, structures: Structures) -> Parameters:
        """Parameters of the sum over structures of one kind of boundary: those given, or the cheapest good enough."""
        if not bool(structures.pbc.any()):
            return Parameters("direct")
        if self.parameters is not None:
            return self.parameters
        return self._parameters(structures, self.method)

    def _parameters(self, structures: Structures, method: str) -> Parameters:
        squares = self.site_coefficients(structures).detach().double() ** 2
        sums = squares.new_zeros(structures.n_structures).index_add(0, structures.structure_index, squares)
        return choose_parameters(
            self._periodic(structures).cells.detach().cpu().double().numpy(),
            structures.atoms_per_structure.cpu().numpy(),
            abs(self.prefactor) * sums.cpu().numpy(),
            force_error=self.force_error,
            exponent=self.exponent,
            method=method,
            cutoff=self.cutoff,
        )

    def __call__(self, structures: Structures) -> Evaluation:
        """See :meth:`Potential.__call__`."""
        self.check(structures)
        coefficients = self.site_coefficients(structures)
        n_periodic = structures.pbc.sum(dim=1)
        kinds = torch.unique(n_periodic).tolist()
        if len(kinds) == 1:
            return Evaluation(*self._evaluate(structures, coefficients), structures)
        totals = None
        for kind in kinds:
            chosen = n_periodic == kind
            atoms = chosen[structures.structure_index].nonzero().flatten()
            parts = self._evaluate(structures[chosen.nonzero().flatten()], coefficients[atoms])
            if totals is None:
                totals = [part.new_zeros(structures.n_atoms, *part.shape[1:]) for part in parts]
            totals = [total.index_add(0, atoms, part) for total, part in zip(totals, parts)]
        return Evaluation(*totals, structures)

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`Potential.bind`.

        Raises
        ------
        ValueError
            If the structures' boundaries are of several kinds.
        """
        self.check(structures)
        parameters = self.bound_parameters(structures)
        return BoundTerms(
            [self.bind_pairs(structures, parameters, lists), BoundReciprocal(self, structures, parameters)]
        )

    def bind_pairs(self, structures: Structures, parameters: Parameters, lists: NeighbourLists) -> Bound:
        """The real-space part of :meth:`bind`."""
        return BoundPairs(self, structures, parameters, lists)

    def bound_parameters(self, structures: Structures) -> Parameters:
        """:meth:`parameters_for` structures that are to be bound together.

        Raises
        ------
        ValueError
            If their boundaries are of several kinds.
        """
        kinds = torch.unique(structures.pbc.sum(dim=1)).tolist()
        if len(kinds) > 1:
            raise ValueError(
                f"the structures are periodic along {' and '.join(map(str, kinds))} directions; accepted for many "
                "steps are structures of one kind, run the others apart"
            )
        return self.parameters_for(structures)

    def hessian(self, structures: Structures) -> "ForceConstants":
        """Force constants from the analytic second derivatives, with an Ewald sum whatever the method.

        The real-space part is resolved by periodic image; waves have no images, their part stands at shift 0. Sums
        over images, as in ``dense()``, are those of the whole; phonons at other wavevectors need a supercell, and the
        non-analytic part of charged crystals is not separated.
        """
        from matterscape.potentials.force_constants import ForceConstants

        self.check(structures)
        parameters = self.bound_parameters(structures)
        positions = structures.positions.detach().cpu().double().numpy()
        charges = self.site_coefficients(structures).detach().cpu().double().numpy()
        if parameters.method == "direct":
            first, second, shifts = np.split(all_pairs(structures).cpu().numpy(), [1, 2], axis=1)
            first, second = first[:, 0], second[:, 0]
            vectors = positions[second] - positions[first]
        else:
            if parameters.method == "mesh":
                parameters = self._parameters(structures, "ewald")
            pairs = structures.pairs(parameters.cutoff)
            first, second, shifts = (part.cpu().numpy() for part in (pairs.first, pairs.second, pairs.shifts))
            vectors = pairs.vectors.detach().cpu().double().numpy()
        scale = self.prefactor * charges[first] * charges[second]
        blocks = scale[:, None, None] * pair_stiffness(vectors, parameters.alpha, self.exponent)
        terms = [(first, second, shifts, -blocks), (first, first, np.zeros_like(shifts), blocks)]
        if parameters.method != "direct":
            dense = self.prefactor * self._reciprocal_hessian(structures, parameters, positions, charges)
            i, j = np.divmod(np.arange(len(charges) ** 2), len(charges))
            same = structures.structure_index.cpu().numpy()[i] == structures.structure_index.cpu().numpy()[j]
            i, j = i[same], j[same]
            in_blocks = dense.reshape(len(charges), 3, len(charges), 3)[i, :, j]
            terms.append((i, j, np.zeros((len(i), 3), np.int64), in_blocks))
        return ForceConstants.from_terms(*(np.concatenate(columns) for columns in zip(*terms)), structures)

    def _reciprocal_hessian(self, structures, parameters, positions, charges) -> np.ndarray:
        periodic = self._periodic(structures)
        cells = periodic.cells.detach().cpu().double().numpy()
        index = structures.structure_index.cpu().numpy()
        total = EwaldSum(cells, index, parameters.geometry(cells), parameters.alpha, self.exponent)
        result = total.hessian(positions, charges)
        if periodic.normals is not None or self.surface == "vacuum":
            result = result + _boundary.dipole_hessian(charges, index, periodic)
        return result

    def _periodic(self, structures: Structures, heights: torch.Tensor | None = None) -> _boundary.Periodic:
        return _boundary.periodic_cells(
            structures.positions,
            structures.cells,
            structures.pbc,
            structures.structure_index,
            vacuum_accuracy(self.force_error),
            heights,
        )

    def _evaluate(self, structures: Structures, coefficients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Energies, forces and flux tensors of structures of one kind of boundary."""
        parameters = self.parameters_for(structures)
        pairs = self.real_space(structures, coefficients, parameters)
        if parameters.method == "direct":
            return pairs
        positions, index = structures.positions, structures.structure_index
        periodic = self._periodic(structures)
        geometry = torch.from_numpy(parameters.geometry(periodic.cells.detach().cpu().double().numpy()))
        on_mesh, n_structures = parameters.method == "mesh", structures.n_structures
        operator = mesh_operator if on_mesh else ewald_operator
        energies, gradient, pieces, _ = operator(
            from_mean(positions, index, n_structures) if on_mesh else positions,
            periodic.cells,
            coefficients,
            positions.new_zeros(0),
            index,
            geometry.to(positions.device),
            parameters.alpha,
            self.exponent,
            True,
        )
        if on_mesh:
            gradient = from_mean(gradient, index, n_structures)
        energies = energies - self_energies(coefficients, parameters.alpha, self.exponent)
        if periodic.normals is not None or self.surface == "vacuum":
            terms = _boundary.dipole_terms(positions, coefficients, index, periodic)
            energies, gradient, pieces = energies + terms[0], gradient + terms[1], pieces + terms[2]
        waves = self.prefactor * energies, -self.prefactor * gradient, self.prefactor * pieces
        return tuple(pair + wave for pair, wave in zip(pairs, waves))

    def real_space(
        self, structures: Structures, coefficients: torch.Tensor, parameters: Parameters
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Energies, forces and flux tensors of the real-space part, or of all pairs of open structures."""
        positions, index = structures.positions, structures.structure_index
        if parameters.method == "direct":
            pairs = all_pairs(structures)
            cells = torch.eye(3, dtype=positions.dtype, device=positions.device).expand(structures.cells.shape)
        else:
            found = structures.pairs(parameters.cutoff)
            pairs = torch.cat([found.first[:, None], found.second[:, None], found.shifts], dim=1)
            cells = self._periodic(structures).cells
        energies, gradient, pieces, _ = screened_operator(
            positions,
            cells,
            coefficients,
            positions.new_zeros(0),
            index,
            pairs,
            parameters.alpha,
            self.exponent,
            True,
        )
        return self.prefactor * energies, -self.prefactor * gradient, self.prefactor * pieces

    def __str__(self) -> str:
        return f"{type(self).__name__} 1/r^{self.exponent}"


def _checked_coefficients(
    coefficients: Mapping[str, float] | torch.Tensor | np.ndarray,
) -> tuple[tuple[int, ...] | None, torch.Tensor]:
    """Atomic numbers, or None for one coefficient per atom, and the coefficients."""
    if isinstance(coefficients, Mapping):
        for symbol in coefficients:
            if atomic_numbers.get(symbol, 0) == 0:
                raise ValueError(f"a coefficient is given for {symbol!r}; accepted are chemical symbols")
        species = tuple(sorted(atomic_numbers[symbol] for symbol in coefficients))
        given = [coefficients[chemical_symbols[number]] for number in species]
        if not given or not all(is_number(c) or (isinstance(c, torch.Tensor) and c.ndim == 0) for c in given):
            raise ValueError(f"coefficients are {dict(coefficients)!r}; accepted is one finite number for each species")
        tensor = torch.stack([torch.as_tensor(c, dtype=torch.float64) for c in given])
    else:
        if not isinstance(coefficients, torch.Tensor):
            coefficients = real_array("coefficients", coefficients)
        species, tensor = None, torch.as_tensor(coefficients, dtype=torch.float64)
        if tensor.ndim != 1 or len(tensor) == 0:
            raise ValueError(f"coefficients have shape {tuple(tensor.shape)}; accepted is (n_atoms,)")
    if not bool(torch.isfinite(tensor.detach()).all()):
        raise ValueError(f"coefficients are {tensor.tolist()}; accepted are finite numbers")
    return species, tensor

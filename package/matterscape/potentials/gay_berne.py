"""Gay-Berne ellipsoids: anisotropic particles that attract and repel through their surfaces, with torques."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import chemical_symbols

from matterscape.checks import check_number, is_number
from matterscape.kernels import Operator
from matterscape.potentials._gay_berne_kernels import HARD_CORE, accumulate
from matterscape.potentials._symbols import numbers_of
from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.potentials.local import fold
from matterscape.potentials.orientations import check_norms, read_quaternions, rotation_matrices
from matterscape.structures import NeighbourLists, Structures, VerletList, extended_pairs

_ROWS, _COLUMNS = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)  # xx, yy, zz, yz, xz, xy
_UNPACK = (0, 5, 4, 5, 1, 3, 4, 3, 2)


def _packed(rotations: torch.Tensor, diagonal: torch.Tensor) -> torch.Tensor:
    """R diag R^T (N, 6) of rotations (N, 3, 3) and diagonals (N, 3)."""
    matrices = (rotations * diagonal[:, None, :]) @ rotations.mT
    return matrices[:, _ROWS, _COLUMNS]


def _unpacked(packed: torch.Tensor, off_diagonal: float = 1.0) -> torch.Tensor:
    scale = packed.new_tensor([1.0, 1.0, 1.0, off_diagonal, off_diagonal, off_diagonal])
    return (packed * scale)[..., _UNPACK].unflatten(-1, (3, 3))


def _axial(matrices: torch.Tensor) -> torch.Tensor:
    """Vectors (..., 3) v_c = M_ab - M_ba, (a, b, c) cyclic."""
    return torch.stack([matrices[..., a, b] - matrices[..., b, a] for a, b in ((1, 2), (2, 0), (0, 1))], dim=-1)


def _rotation_gradient(shapes: torch.Tensor, on_shapes: torch.Tensor) -> torch.Tensor:
    """Derivative (..., 3) in a rotation vector of the body, from the one (..., 12) in its packed matrices."""
    return sum(
        2 * _axial(_unpacked(matrix) @ _unpacked(gradient, 0.5))
        for matrix, gradient in zip(shapes.split(6, dim=-1), on_shapes.split(6, dim=-1))
    )


def _reference(
    positions: torch.Tensor,
    weights: torch.Tensor,
    shapes: torch.Tensor,
    types: torch.Tensor,
    second: torch.Tensor,
    offsets: torch.Tensor,
    pairs: torch.Tensor,
    form: torch.Tensor,
    with_pieces: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies, gradient, shape gradient and flux pieces of ellipsoids; see ``_gay_berne_kernels.accumulate``."""
    gamma, mu, nu, cutoff, width = form.unbind()
    i = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=second.device), offsets.diff())
    j = second.long()
    r = positions[j] - positions[i]
    near = r.detach().square().sum(1) < cutoff.detach() ** 2
    i, j, r = i[near], j[near], r[near]
    distances = r.norm(dim=1)
    u = r / distances[:, None]
    n_types = math.isqrt(len(pairs))
    epsilon, sigma, strength = pairs[types[i] * n_types + types[j]].unbind(1)

    g, b = _unpacked((shapes[i] + shapes[j]).unflatten(1, (2, 6))).unbind(1)
    g_u, b_u = torch.linalg.solve(g, u), torch.linalg.solve(b, u)
    g_square, b_square = (u * g_u).sum(1), (u * b_u).sum(1)
    contact = (0.5 * g_square) ** -0.5
    anisotropy = (strength / torch.linalg.det(g)) ** (0.5 * nu) * (2 * b_square) ** mu
    if bool(width.detach() > 0):
        t = (1 - (cutoff - distances) / width).clamp(min=0)
        switch = 1 - t**3 * (10 - t * (15 - 6 * t))
        switch_slope = -30 * t**2 * (1 - t) ** 2 / width
    else:
        switch, switch_slope = torch.ones_like(distances), torch.zeros_like(distances)
    gap = distances - contact + gamma * sigma
    inside = torch.maximum(gap, HARD_CORE * sigma)
    rho6 = (sigma / inside) ** 6
    radial_slope = -24 * epsilon * rho6 * (2 * rho6 - 1) / inside
    radial = 4 * epsilon * rho6 * (rho6 - 1) + radial_slope * (gap - inside)

    energy = radial * anisotropy * switch
    by_gap = radial_slope * anisotropy * switch
    by_g = by_gap * contact**3 / 4  # dU / d(u G^-1 u)
    by_b = energy * mu / b_square
    along = by_gap + radial * anisotropy * switch_slope - 2 * (by_g * g_square + by_b * b_square) / distances
    on_r = along[:, None] * u + (2 / distances)[:, None] * (by_g[:, None] * g_u + by_b[:, None] * b_u)
    on_g = -by_g[:, None, None] * g_u[:, :, None] * g_u[:, None, :]
    on_g = on_g - (0.5 * nu * energy)[:, None, None] * torch.linalg.inv(g)
    on_b = -by_b[:, None, None] * b_u[:, :, None] * b_u[:, None, :]
    doubled = on_r.new_tensor([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    on_shape = torch.cat([matrix[:, _ROWS, _COLUMNS] * doubled for matrix in (on_g, on_b)], dim=1)

    w = weights if len(weights) else torch.ones_like(positions[:, 0])
    w_i, w_j = w[i, None], w[j, None]
    n_atoms = len(positions)

    def summed(on_first: torch.Tensor, on_second: torch.Tensor) -> torch.Tensor:
        total = on_first.new_zeros(n_atoms, *on_first.shape[1:])
        return total.index_add(0, i, on_first).index_add(0, j, on_second)

    weight = (w_i + w_j) / 2
    energies = summed(energy / 2, energy / 2)
    gradient = summed(-weight * on_r, weight * on_r)
    shape_gradient = summed(weight * on_shape, weight * on_shape)
    if not with_pieces:
        return energies, gradient, shape_gradient, positions.new_zeros(0, 3, 3), positions.new_zeros(0, 3, 3)
    half = r[:, :, None] / 2
    product = half * on_r[:, None, :]
    pieces = summed(-w_j[:, :, None] * product, -w_i[:, :, None] * product)
    turn_i, turn_j = (_rotation_gradient(shapes[atom], on_shape)[:, None, :] for atom in (i, j))
    rotation_pieces = summed(w_j[:, :, None] * half * turn_i, -w_i[:, :, None] * half * turn_j)
    return energies, gradient, shape_gradient, pieces, rotation_pieces


def _fake(positions, weights, shapes, types, second, offsets, pairs, form, with_pieces):
    n_atoms = positions.shape[0]
    n_pieces = n_atoms if with_pieces else 0
    sizes = ((n_atoms,), (n_atoms, 3), (n_atoms, 12), (n_pieces, 3, 3), (n_pieces, 3, 3))
    return tuple(positions.new_empty(size) for size in sizes)


def _derivative(inputs, gradients):
    results = [None] * len(inputs)
    on_energies, on_others = gradients[0], gradients[1:]
    fitted = inputs[6].requires_grad or inputs[7].requires_grad
    if on_energies is not None and not fitted:
        positions, _, *rest = inputs[:-1]
        _, results[0], results[2], _, _ = gay_berne_sums(positions, on_energies.contiguous(), *rest, False)
        gradients = (None, *on_others)
    used = [k for k, gradient in enumerate(gradients) if gradient is not None]
    if used:
        further = torch.is_grad_enabled()
        with torch.enable_grad():
            leaves = [a.view_as(a) if k in _DIFFERENTIABLE else a for k, a in enumerate(inputs)]
            outputs = _reference(*leaves)
            wanted = [k for k in _DIFFERENTIABLE if inputs[k].requires_grad]
            parts = torch.autograd.grad(
                [outputs[k] for k in used],
                [leaves[k] for k in wanted],
                [gradients[k] for k in used],
                create_graph=further,
                allow_unused=True,
            )
        for k, part in zip(wanted, parts):
            if part is not None:
                results[k] = part if results[k] is None else results[k] + part
    return results


_DIFFERENTIABLE = (0, 1, 2, 6, 7)  # positions, weights, shapes, pairs, form
gay_berne_sums = Operator(
    "gay_berne_sums", reference=_reference, body=accumulate, fake=_fake, derivative=_derivative, fill_missing=False
)


@dataclass(frozen=True)
class Ellipsoid:
    """One kind of particle.

    Parameters
    ----------
    semiaxes : sequence of 3 floats
        Half lengths along the body's axes in Å, positive. The strength of the attraction singles out the third.
    well_depths : sequence of 3 floats
        Relative depths of the wells along the three axes, positive.
    epsilon : float
        Energy scale in eV.
    sigma : float, optional
        Range of the surface interaction in Å; twice the shortest semiaxis if not given.
    """

    semiaxes: Sequence[float]
    well_depths: Sequence[float] = (1.0, 1.0, 1.0)
    epsilon: float = 1.0
    sigma: float | None = None

    def __post_init__(self) -> None:
        for name in ("semiaxes", "well_depths"):
            values = getattr(self, name)
            if len(values) != 3 or not all(is_number(v) and v > 0 for v in values):
                raise ValueError(f"{name} is {values!r}; accepted are three positive, finite numbers")
        if self.sigma is None:
            object.__setattr__(self, "sigma", 2 * min(self.semiaxes))
        for name in ("epsilon", "sigma"):
            check_number(name, getattr(self, name), positive=True)


@dataclass(frozen=True, eq=False)
class EllipsoidEvaluation(Evaluation):
    """What Gay-Berne particles feel.

    Attributes
    ----------
    torques : tensor (n_atoms, 3)
        -dU/d(rotation vector) in the laboratory frame, in eV.
    rotational_flux_tensors : tensor (n_atoms, 3, 3)
        R_j^{ab} = -sum_i (r_j - r_i)^a (dU_i/dtheta_j)^b in eV Å: the part of the heat flux that turning bodies carry.

    The virial is the derivative in a strain that moves the centres and leaves the orientations; its antisymmetric
    part, which balances the torques, is left out.
    """

    torques: torch.Tensor
    rotational_flux_tensors: torch.Tensor

    def heat_flux(
        self,
        velocities: torch.Tensor,
        masses: torch.Tensor | None = None,
        *,
        angular_velocities: torch.Tensor | None = None,
        rotational_energies: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Heat flux J = sum_i ((e_i + K_i) v_i + W_i v_i + R_i omega_i) of each structure.

        Parameters
        ----------
        velocities : tensor (n_atoms, 3)
            In Å per ASE time unit.
        masses : tensor (n_atoms,), optional
            In amu; standard atomic masses if not given.
        angular_velocities : tensor (n_atoms, 3), optional
            omega in the laboratory frame, in radians per ASE time unit; the bodies do not turn if not given.
        rotational_energies : tensor (n_atoms,), optional
            K_i = omega_i I_i omega_i / 2 in eV; the moments of inertia are no part of the potential.

        Returns
        -------
        tensor (n_structures, 3)
            Extensive, in eV Å per ASE time unit.

        Raises
        ------
        ValueError
            If only one of the last two is given.
        """
        translational = super().heat_flux(velocities, masses)
        if (angular_velocities is None) != (rotational_energies is None):
            raise ValueError("angular_velocities and rotational_energies belong together; only one of them was given")
        if angular_velocities is None:
            return translational
        turning = torch.einsum("nab,nb->na", self.rotational_flux_tensors, angular_velocities)
        return translational + self._per_structure(turning + rotational_energies[:, None] * velocities)


class GayBerne(Potential):
    """Ellipsoids that interact through the gap between their surfaces, in the general biaxial form.

    With G = A_1 + A_2, A = R S^2 R^T of the semiaxes S and orientations R, the unit vector u between the centres,
    sigma_12 = (u G^-1 u / 2)^(-1/2) and rho = sigma / (r - sigma_12 + gamma sigma):

        U = 4 eps (rho^12 - rho^6) (2 s_1 s_2 / det G)^(nu/2) (2 u B^-1 u)^mu,   s = (a b + c^2) sqrt(a b),

    where B is G with the diagonal well_depths^(-1/mu) in place of S^2. Where r - sigma_12 + gamma sigma is less than a
    tenth of sigma, the hard core, the Lennard-Jones factor continues as a straight line with the slope that it has
    there: bodies that overlap repel with a finite energy of more than 10^12 eps times the last two factors.

    Parameters
    ----------
    particles : mapping of chemical symbol to Ellipsoid
        Unlike pairs take the geometric mean of epsilon and the arithmetic one of sigma.
    mu, nu, gamma : float
        Exponents of the well depths and of the shapes; shift of the distance.
    cutoff : float
        Of the distance between centres, in Å.
    width : float, optional
        Over which the energy is switched off smoothly before the cutoff, in Å; a tenth of the cutoff if not given.
        Zero truncates it as LAMMPS does: forces then miss the jump, so don't run dynamics with it.
    pairs : mapping of (symbol, symbol) to (epsilon, sigma), optional
        Instead of the means.

    Raises
    ------
    TypeError
        If ``particles`` is no mapping.
    ValueError
        If a parameter is out of its range or a pair names a symbol that is not among the particles.

    References
    ----------
    Uniaxial: Gay, Berne, J. Chem. Phys. 74, 3316 (1981), doi 10.1063/1.441483. Biaxial: Berardi, Fava, Zannoni, Chem.
    Phys. Lett. 236, 462 (1995), doi 10.1016/0009-2614(95)00212-M, and 297, 8 (1998). This form: Everaers, Ejtehadi,
    Phys. Rev. E 67, 041710 (2003), doi 10.1103/PhysRevE.67.041710, as in LAMMPS's pair style gayberne.
    """

    def __init__(
        self,
        particles: Mapping[str, Ellipsoid],
        *,
        cutoff: float,
        mu: float = 2.0,
        nu: float = 1.0,
        gamma: float = 1.0,
        width: float | None = None,
        pairs: Mapping[tuple[str, str], tuple[float, float]] | None = None,
    ):
        if not isinstance(particles, Mapping):
            raise TypeError(f"particles is a {type(particles).__name__}; accepted is a mapping {{symbol: Ellipsoid}}")
        symbols = tuple(particles)
        self.species = numbers_of(symbols)
        for name, value in (("cutoff", cutoff), ("mu", mu), ("nu", nu), ("gamma", gamma)):
            check_number(name, value, positive=True)
        width = 0.1 * cutoff if width is None else width
        if not is_number(width) or not 0 <= width <= cutoff:
            raise ValueError(f"width is {width!r}; accepted is a number from 0 to the cutoff {cutoff!r}")
        self.cutoff = float(cutoff)
        bodies = tuple(particles.values())
        self.semiaxes = torch.tensor([body.semiaxes for body in bodies], dtype=torch.float64)
        self.well_depths = torch.tensor([body.well_depths for body in bodies], dtype=torch.float64)
        self.form = torch.tensor([gamma, mu, nu, cutoff, width], dtype=torch.float64)
        a, b, c = self.semiaxes.unbind(1)
        strengths = (a * b + c * c) * (a * b).sqrt()
        table = torch.empty(len(bodies), len(bodies), 3, dtype=torch.float64)
        for i, first in enumerate(bodies):
            for j, second in enumerate(bodies):
                table[i, j, 0] = math.sqrt(first.epsilon * second.epsilon)
                table[i, j, 1] = (first.sigma + second.sigma) / 2
                table[i, j, 2] = 2 * strengths[i] * strengths[j]
        for names, (epsilon, sigma) in (pairs or {}).items():
            if any(name not in symbols for name in names):
                raise ValueError(f"pairs name {names!r}; accepted are pairs of {', '.join(symbols)}")
            check_number(f"epsilon of {names!r}", epsilon, positive=True)
            check_number(f"sigma of {names!r}", sigma, positive=True)
            i, j = (symbols.index(name) for name in names)
            table[i, j, :2] = table[j, i, :2] = torch.tensor([epsilon, sigma], dtype=torch.float64)
        self.pairs = table.flatten(0, 1)

    @classmethod
    def uniaxial(
        cls,
        symbol: str,
        kappa: float,
        kappa_prime: float,
        mu: float,
        nu: float,
        *,
        epsilon: float = 1.0,
        sigma: float = 1.0,
        cutoff: float,
        width: float | None = None,
    ) -> "GayBerne":
        """GB(kappa, kappa', mu, nu) of Gay and Berne, whose particles are axially symmetric about their third axis.

        Parameters
        ----------
        symbol : str
            Chemical symbol that stands for the particle.
        kappa : float
            Length over breadth.
        kappa_prime : float
            Depth of the side-by-side well over that of the end-to-end well.
        mu, nu : float
        epsilon, sigma : float
            Energy scale in eV, breadth in Å.
        cutoff, width : float
            As of the class.
        """
        for name, value in (("kappa", kappa), ("kappa_prime", kappa_prime), ("sigma", sigma)):
            check_number(name, value, positive=True)
        body = Ellipsoid((sigma / 2, sigma / 2, kappa * sigma / 2), (1.0, 1.0, 1 / kappa_prime), epsilon, sigma)
        return cls({symbol: body}, cutoff=cutoff, mu=mu, nu=nu, width=width)

    def __call__(self, structures: Structures, quaternions: torch.Tensor | None = None) -> EllipsoidEvaluation:
        """Energies, forces, torques and flux tensors of a batch, differentiable in positions, strain and orientations.

        Parameters
        ----------
        structures : Structures
        quaternions : tensor (n_atoms, 4), optional
            Orientations (w, x, y, z); read from the ASE structures that the batch was made of if not given, see
            :func:`read_quaternions`. Their norms do not matter to the derivatives: they are normalised first.

        Raises
        ------
        ValueError
            If a species has no parameters or the orientations are missing or no unit quaternions.
        """
        self.check(structures)
        if quaternions is None:
            quaternions = read_quaternions(structures.to_ase()).to(structures.positions)
        elif tuple(quaternions.shape) != (structures.n_atoms, 4):
            raise ValueError(
                f"quaternions have shape {tuple(quaternions.shape)}; accepted is ({structures.n_atoms}, 4)"
            )
        else:
            check_norms(quaternions.detach().norm(dim=1).cpu().numpy(), "quaternions")
        found = extended_pairs(structures, self.cutoff, half=True)
        positions = found.positions(structures)
        types = self.types(structures)
        shapes = self.shapes(quaternions, types)[found.owners]
        energies, gradient, on_shapes, pieces, rotation_pieces = gay_berne_sums(
            positions, positions.new_zeros(0), shapes, types[found.owners], found.second, found.offsets,
            self.pairs.to(positions), self.form.to(positions), True,
        )  # fmt: skip
        turning = _rotation_gradient(shapes, on_shapes)
        energies, gradient, pieces, turning, rotation_pieces = (
            part.new_zeros(structures.n_atoms, *part.shape[1:]).index_add(0, found.owners, part)
            for part in (energies, gradient, pieces, turning, rotation_pieces)
        )
        return EllipsoidEvaluation(energies, -gradient, pieces, structures, -turning, rotation_pieces)

    def bind(self, structures: Structures, lists: NeighbourLists) -> "BoundGayBerne":
        """See :meth:`Potential.bind`; orientations are those of the structures until they are set."""
        return BoundGayBerne(self, structures, lists.request(self.cutoff, half=True))

    def types(self, structures: Structures) -> torch.Tensor:
        """Place of each atom's species among the particles (n_atoms,)."""
        lookup = torch.zeros(len(chemical_symbols), dtype=torch.int64, device=structures.species.device)
        lookup[list(self.species)] = torch.arange(len(self.species), device=lookup.device)
        return lookup[structures.species]

    def shapes(self, quaternions: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Packed matrices R S^2 R^T and R well_depths^(-1/mu) R^T (n_atoms, 12), as the kernel takes them."""
        rotations = rotation_matrices(quaternions)
        mu = self.form[1]
        diagonals = (self.semiaxes**2, self.well_depths ** (-1 / mu))
        return torch.cat([_packed(rotations, diagonal.to(rotations)[types]) for diagonal in diagonals], dim=1)


class BoundGayBerne(Bound):
    """Gay-Berne particles made ready for many steps.

    Attributes
    ----------
    quaternions : ndarray (n_atoms, 4)
        Orientations (w, x, y, z) of the next evaluation, for whoever turns the bodies to set.
    torques : ndarray (n_atoms, 3)
        Of the last evaluation, in eV.
    rotational_flux_tensors : ndarray (n_atoms, 3, 3)
        Of the last evaluation with flux tensors, in eV Å.
    """

    def __init__(self, potential: GayBerne, structures: Structures, verlet: VerletList):
        self.quaternions = read_quaternions(structures.to_ase()).numpy()
        self.torques = np.zeros((structures.n_atoms, 3))
        self.rotational_flux_tensors = np.zeros((structures.n_atoms, 3, 3))
        self._potential, self._list = potential, verlet
        self._types = potential.types(structures).cpu()
        self._pairs, self._form = potential.pairs.detach().numpy(), potential.form.detach().numpy()

    def add(self, positions, cells, energies, forces, pieces):
        """See :meth:`Bound.add`."""
        verlet, with_pieces = self._list, pieces is not None
        shapes = self._potential.shapes(torch.from_numpy(self.quaternions), self._types)[verlet.owners]
        own_energies, gradient, on_shapes, own_pieces, rotation_pieces = accumulate(
            verlet.extended, np.zeros(0), shapes.numpy(), self._types.numpy()[verlet.owners], verlet.second,
            verlet.offsets, self._pairs, self._form, with_pieces,
        )  # fmt: skip
        turning = _rotation_gradient(shapes, torch.from_numpy(on_shapes)).numpy()
        fold(verlet.owners, own_energies, gradient, own_pieces, energies, forces, pieces if with_pieces else own_pieces)
        self.torques.fill(0.0)
        self.rotational_flux_tensors.fill(0.0)
        fold(
            verlet.owners, np.zeros(len(verlet.owners)), turning, rotation_pieces,
            np.zeros(len(self.torques)), self.torques, self.rotational_flux_tensors,
        )  # fmt: skip

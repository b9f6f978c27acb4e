"""The functional forms of star potentials, U = sum_i U_i(r_ij, j neighbour of i), behind one compiled function.

A form is a device function of one centre and its neighbours with the signature of :func:`star`; adding one means one
more number below and one more line in ``star``. What every form keeps:

- It *writes* dU_i/dr_ij into the first ``n`` rows of ``gradient`` and returns U_i in eV.
- It works in the type of ``vectors``: float32, float64, or complex128 for derivatives by complex step. Decisions
  (cut-offs, branches) look at real parts only, so that a complex step never changes a branch. Constants are made with
  ``parameters.dtype.type``: a bare float would turn float32 arithmetic into float64.
- It gives zero for a neighbour at or beyond its cut-off, as finite differences can push one there.
- It allocates nothing; ``workspace`` (at least n, ``NEIGHBOUR_COLUMNS``) and ``pairs`` (at least n (n - 1) / 2,
  ``PAIR_COLUMNS``) are scratch of the type of ``vectors``, undefined on entry.

Layout of ``parameters`` (R, K), the same for every form in its first column: ``parameters[0, 0]`` is the number S of
species, and row ``1 + a * S + b`` belongs to a neighbour of type b around a centre of type a and starts with the
square of that pair's cut-off. All other columns, all further rows, and ``tables`` (T, n, c) are the form's own.
"""

import numba

from matterscape.potentials._eam_kernels import eam
from matterscape.potentials._stillinger_weber_kernels import stillinger_weber
from matterscape.potentials._tersoff_kernels import tersoff

STILLINGER_WEBER = 0
TERSOFF = 1
EAM_SQUARED = 2
EAM_SETFL = 3

NEIGHBOUR_COLUMNS = 16
PAIR_COLUMNS = 4


@numba.njit(nogil=True, cache=True, error_model="numpy")
def star(kind, n, vectors, types, centre_type, parameters, tables, gradient, workspace, pairs):
    """Energy of one centre and its gradient.

    Parameters
    ----------
    kind : int
        Functional form, one of the constants of this module.
    n : int
        Number of neighbours; the arrays per neighbour may be longer.
    vectors : array (>= n, 3)
        r_ij from the centre to its neighbours in Å.
    types : array (>= n,), integer
        Species index of each neighbour.
    centre_type : int
        Species index of the centre.
    parameters, tables : arrays (R, K) and (T, n, c)
        See the module's docstring.
    gradient : array (>= n, 3)
        Receives dU_i/dr_ij.
    workspace, pairs : arrays (>= n, NEIGHBOUR_COLUMNS) and (>= n (n - 1) / 2, PAIR_COLUMNS)
        Scratch.

    Returns
    -------
    float or complex
        U_i in eV.
    """
    if kind == EAM_SQUARED:
        return eam((), n, vectors, types, centre_type, parameters, tables, gradient, workspace)
    if kind == EAM_SETFL:
        return eam((0,), n, vectors, types, centre_type, parameters, tables, gradient, workspace)
    if kind == TERSOFF:
        return tersoff(n, vectors, types, centre_type, parameters, gradient, workspace, pairs)
    return stillinger_weber(n, vectors, types, centre_type, parameters, gradient, workspace)

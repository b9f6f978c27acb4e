"""Sparse matrices of 3 x 3 blocks times some columns: a compiled body, and one of torch for other devices."""

import numba
import torch


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def multiply_panel(row_starts, columns, blocks, panel, product):
    """A times some columns, for several matrices A of 3 x 3 blocks that vanish at the same places.

    ``row_starts`` (N + 1,), ``columns`` (P,), ``blocks`` (B, P, 3, 3), ``panel`` (N, 3, W); ``product`` (N, 3, B, W) is
    filled. Blocks of one row and column add up.
    """
    n_columns = panel.shape[2]
    for i in numba.prange(len(row_starts) - 1):
        for n in range(len(blocks)):
            own_x, own_y, own_z = product[i, 0, n], product[i, 1, n], product[i, 2, n]
            own_x[:], own_y[:], own_z[:] = 0, 0, 0
            for p in range(row_starts[i], row_starts[i + 1]):
                block, other = blocks[n, p], panel[columns[p]]
                other_x, other_y, other_z = other[0], other[1], other[2]
                xx, xy, xz = block[0, 0], block[0, 1], block[0, 2]
                yx, yy, yz = block[1, 0], block[1, 1], block[1, 2]
                zx, zy, zz = block[2, 0], block[2, 1], block[2, 2]
                for c in range(n_columns):
                    x, y, z = other_x[c], other_y[c], other_z[c]
                    own_x[c] += xx * x + xy * y + xz * z
                    own_y[c] += yx * x + yy * y + yz * z
                    own_z[c] += zx * x + zy * y + zz * z


def panel_reference(row_starts, columns, blocks, panel):
    """What ``multiply_panel`` fills, (N, 3, B, W), rows padded to those of most blocks; tensors of one device."""
    n_atoms, n_own = len(row_starts) - 1, len(blocks)
    row = torch.repeat_interleave(row_starts.diff())
    place = torch.arange(len(columns), device=panel.device) - row_starts[row]
    padded = torch.zeros((n_atoms, int(row_starts.diff().max())), dtype=torch.int64, device=panel.device)
    padded[row, place] = columns
    rows = torch.zeros((*padded.shape, n_own, 3, 3), dtype=panel.dtype, device=panel.device)
    rows[row, place] = blocks.transpose(0, 1)
    rows = rows.permute(0, 3, 2, 1, 4).reshape(n_atoms, 3 * n_own, -1)
    return torch.bmm(rows, panel[padded].view(n_atoms, rows.shape[2], -1)).view(n_atoms, 3, n_own, -1)

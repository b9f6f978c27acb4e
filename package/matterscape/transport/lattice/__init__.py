"""Heat transport by the vibrations of solids: modes, their widths, and quasi-harmonic Green-Kubo conductivities."""

"""Heat transport by the vibrations of solids: modes, their widths, and quasi-harmonic Green-Kubo conductivities.

A potential and a crystal give second- and third-order force constants, these give modes and half widths, and these the
conductivity; each step lives in the module of its name:

    supercell = minima.stable_supercell(primitive, potential, repeats)
    constants = harmonic.nearest_images(harmonic.force_constants(potential, supercell.structures))
    vibrations = modes.vibrational_modes(supercell.fold(constants), supercell.repeats)
    third_order = cubic.cubic_force_constants(potential, supercell)
    half_widths = linewidths.linewidths(linewidths.ModeCouplings(vibrations, third_order), 300.0, broadening_THz=0.4)
    conductivity = qhgk.qhgk(vibrations, half_widths, 300.0)
"""

"""Phonons of crystals: meshes, bands, three-phonon scattering, Boltzmann equation, disorder of masses.

From a primitive cell and a star potential, in the modules of these names,

    modes = vibrational_modes(potential.hessian(cell), (12, 12, 12))
    triplets = TripletForceConstants.from_stars(potential.third_order(cell))
    scattering = three_phonon_scattering(modes, triplets, [100.0, 300.0], collisions=True)
    relaxed = boltzmann_conductivity(scattering)
    full = boltzmann_conductivity(scattering, method="direct")

and from a supercell of any other, ``TripletForceConstants.from_supercell``.
"""

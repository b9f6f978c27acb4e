"""Phonons of crystals: symmetry-reduced meshes, bands, three-phonon scattering, Boltzmann equation, disorder of masses."""

"""Phonons of crystals: meshes, bands, three-phonon scattering, Boltzmann equation, disorder of masses."""

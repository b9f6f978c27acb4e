"""Vibrational spectra of large models without their eigenvectors: structure factors, densities, diffusivities.

Every quantity here is <x| f(D) |x> for the sparse dynamical matrix D and a few starting vectors x.
"""

"""Transport coefficients from currents and trajectories: heat, charge, matter, with error bars."""

import importlib

_NAMES = {
    "Arrhenius": "diffusion",
    "Cepstral": "cepstral",
    "Coherence": "coherence",
    "Conductivity": "onsager",
    "CrossPeriodogram": "spectra",
    "Currents": "currents",
    "CurrentsFileError": "readers",
    "CutoffScan": "onsager",
    "Displacements": "diffusion",
    "Estimate": "diffusion",
    "Events": "events",
    "MomentumWarning": "currents",
    "OnsagerMatrix": "onsager",
    "PartialEnthalpies": "seebeck",
    "Peltier": "seebeck",
    "Posterior": "diffusion",
    "ReducedPeriodogram": "spectra",
    "Seebeck": "seebeck",
    "SpectrumWarning": "spectra",
    "SplitConductivity": "conductivity",
    "UnwrappedTrajectory": "trajectories",
    "VanHove": "van_hove",
    "analyse_many": "many",
    "arrhenius_fit": "diffusion",
    "arrhenius_jump": "diffusion",
    "cepstral_analysis": "cepstral",
    "charge_current": "conductivity",
    "conductivity_posterior": "conductivity",
    "conductivity_tensor": "onsager",
    "cross_periodogram": "spectra",
    "einstein_conductivity": "conductivity",
    "electrical_conductivity": "onsager",
    "event_correlation": "events",
    "find_sites": "density_sites",
    "flip_events": "events",
    "gauge_deviation": "onsager",
    "haven_ratio": "conductivity",
    "hop_events": "events",
    "ion_density": "density_sites",
    "measure_displacements": "diffusion",
    "nernst_einstein": "conductivity",
    "onsager_matrix": "onsager",
    "open_currents": "readers",
    "orientation_autocorrelation": "tetrahedra",
    "partial_enthalpies": "seebeck",
    "peltier_coefficient": "seebeck",
    "read_currents": "readers",
    "regress_coherence": "coherence",
    "resampled": "spectra",
    "residence_times": "events",
    "scan_cutoff": "onsager",
    "schur_complement": "onsager",
    "seebeck_coefficient": "seebeck",
    "self_diffusion": "diffusion",
    "self_diffusion_posterior": "diffusion",
    "site_moves": "events",
    "spectral_matrix": "synthetic",
    "split_conductivity": "conductivity",
    "suggested_cutoff": "spectra",
    "synthetic_currents": "synthetic",
    "tetrahedron_rotations": "tetrahedra",
    "thermal_conductivity": "onsager",
    "unwrap": "trajectories",
    "van_hove_functions": "van_hove",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

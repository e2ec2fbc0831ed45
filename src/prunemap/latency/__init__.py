"""Measured latency of layers: which cases (probe), how they are timed (measure), and what lies between (predict)."""

from prunemap.latency.measure import LocalTimer, ProbeTimer, measure
from prunemap.latency.predict import Predictor
from prunemap.latency.probe import DEFAULT_DENSITIES, DEFAULT_SCHEMES, Probe, make_probes, probe_settings
from prunemap.latency.profile import profile_models

__all__ = [
    "DEFAULT_DENSITIES",
    "DEFAULT_SCHEMES",
    "LocalTimer",
    "Predictor",
    "Probe",
    "ProbeTimer",
    "make_probes",
    "measure",
    "probe_settings",
    "profile_models",
]

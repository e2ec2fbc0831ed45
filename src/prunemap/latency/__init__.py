"""Measured latency of layers: which cases (probe), how they are timed (measure), and what lies between (predict)."""

from prunemap.latency.predict import Predictor
from prunemap.latency.probe import DEFAULT_DENSITIES, DEFAULT_SCHEMES, Probe, make_probes, probe_settings

__all__ = [
    "DEFAULT_DENSITIES",
    "DEFAULT_SCHEMES",
    "Predictor",
    "Probe",
    "make_probes",
    "probe_settings",
]

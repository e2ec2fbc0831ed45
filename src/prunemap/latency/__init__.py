"""Measured latency of layers: which cases (probe, grid), how they are timed (measure), what lies between (predict)."""

from prunemap.latency.anchor import ANCHOR, compile_anchor
from prunemap.latency.grid import GRID
from prunemap.latency.local_timer import LocalTimer
from prunemap.latency.measure import NetworkSeconds, ProbeTimer, ProbeTimes, measure
from prunemap.latency.network import measure_networks, network_times
from prunemap.latency.network_latency import NetworkLatency
from prunemap.latency.plan_latency import PlanLatency
from prunemap.latency.predict import Predictor
from prunemap.latency.probe import DEFAULT_DENSITIES, DEFAULT_SCHEMES, Probe, make_probes, probe_settings
from prunemap.latency.profile import profile_models

__all__ = [
    "ANCHOR",
    "DEFAULT_DENSITIES",
    "DEFAULT_SCHEMES",
    "GRID",
    "LocalTimer",
    "NetworkLatency",
    "NetworkSeconds",
    "PlanLatency",
    "Predictor",
    "Probe",
    "ProbeTimer",
    "ProbeTimes",
    "compile_anchor",
    "make_probes",
    "measure",
    "measure_networks",
    "network_times",
    "probe_settings",
    "profile_models",
]

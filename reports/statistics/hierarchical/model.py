"""The seeds' part of the hierarchical model, sampled by NUTS with NumPyro: the only file that imports it.

    score of seed s of method m = mu_m + seed_ms + noise_ms        seed_ms ~ N(0, tau_m),  noise_ms ~ N(0, sqrt(r_m))
    tau_m = tau exp(omega z_m)      tau ~ half-t(3, scale)      omega ~ half-normal(0.5)      z_m ~ N(0, 1)

`r_m` is what a seed's own way with each image and caption adds to its score. It is known from the seeds of a method on
the same queries, with many degrees of freedom, and is told apart from `tau_m`, which more images would not reduce.
The seed SDs of the methods are pooled: few seeds say little of one method's, more of what they have in common.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.files.extras import missing
from harness.reports.statistics.hierarchical.moments import Floats

CHAINS = 4
#: What must hold of every quantity for a fit to be a result (Vehtari et al. 2021).
MOST_R_HAT, LEAST_ESS = 1.01, 400.0
#: Scale of the prior of omega, the SD of ln(seed SD of a method) around the common one: a factor of 1.6, rarely 2.7.
POOLING = 0.5
#: Draws to warm up, draws to keep, and share of accepted steps; the second attempt is for fits that fail the first.
ATTEMPTS = ((500, 1000, 0.95), (1000, 3000, 0.99))


@dataclass(frozen=True)
class Diagnostics:
    """Whether the sampler can be believed: the worst values over all quantities that it drew."""

    r_hat: float
    ess: float  # effective sample size
    divergences: int
    draws: int  # all chains together

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong, in words; empty for a fit that is a result.

        >>> Diagnostics(r_hat=1.2, ess=900.0, divergences=0, draws=4000).failures
        ('R-hat 1.200 is above 1.01',)
        """
        found = []
        if not self.r_hat <= MOST_R_HAT:
            found.append(f"R-hat {self.r_hat:.3f} is above {MOST_R_HAT:g}")
        if not self.ess >= LEAST_ESS:
            found.append(f"the effective sample size {self.ess:.0f} is below {LEAST_ESS:.0f}")
        if self.divergences:
            found.append(f"{self.divergences} of {self.draws} draws diverged")
        return tuple(found)


def require_library() -> None:
    """Refuse early where the library is missing.

    Raises:
        MissingPackage: NumPyro cannot be imported.
    """
    _library("numpyro")


def seed_variances(
    between: Floats,
    noise: Floats,
    seeds: Floats,
    noise_df: Floats,
    *,
    scales: Floats,
    rounding: float,
    seed: int = 0,
    attempts: int = len(ATTEMPTS),
) -> list[tuple[Floats, Diagnostics]]:
    """Draw the variance of the seeds of M methods, once for every scale of the prior.

    Args:
        between: (P, M) variance of the scores of a method's seeds, in points squared; or (M,) for the same everywhere.
        noise: likewise, the part of it that is expected from seeds that differ in their queries only; above 0.
        seeds: (M,) seeds of each method, 2 or more.
        noise_df: (M,) degrees of freedom of the noise.
        scales: (P,) of the half-t(3) prior on the common seed SD, in points.
        rounding: variance of a score that is not resolved, since scores move in steps of one hit.
        seed: of the sampler; the same one gives the same numbers on one machine.
        attempts: 2 sample everything again, and longer, if any fit fails its diagnostics.

    Returns:
        For every scale tau_m squared (D, M), all chains one after the other, and the diagnostics.

    Raises:
        MissingPackage: NumPyro cannot be imported.
    """
    jax = _library("jax")
    data = {"between": between, "noise": noise, "seeds": seeds, "noise_df": noise_df}
    data = {key: np.broadcast_to(value, (len(scales), len(seeds))).astype(np.float64) for key, value in data.items()}
    data |= {"scale": np.asarray(scales, dtype=np.float64), "rounding": np.full(len(scales), rounding)}
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        keys = jax.random.split(jax.random.PRNGKey(seed), len(scales))
        for attempt in ATTEMPTS[:attempts]:
            chains, diverging = _sampler(*attempt)(keys, data)
            drawn, diverged = {key: np.asarray(value) for key, value in chains.items()}, np.asarray(diverging)
            fits = [
                _judged({key: value[p] for key, value in drawn.items()}, int(diverged[p].sum()))
                for p in range(len(scales))
            ]
            if not any(found.failures for _, found in fits):
                break
    return fits


def _judged(chains: dict[str, Floats], diverged: int) -> tuple[Floats, Diagnostics]:
    """One fit: its draws of tau_m squared, judged by everything that was drawn, on the scale of the sampler."""
    summary = _library("numpyro.diagnostics").summary(chains)
    r_hat = max(float(np.max(one["r_hat"])) for one in summary.values())
    ess = min(float(np.min(one["n_eff"])) for one in summary.values())
    tau, omega = np.exp(chains["tau"])[..., None], np.exp(chains["omega"])[..., None]
    variances = np.square(tau * np.exp(omega * chains["z"])).reshape(-1, chains["z"].shape[-1])
    return variances, Diagnostics(r_hat, ess, diverged, len(variances))


@functools.lru_cache(maxsize=4)
def _sampler(warm_up: int, draws: int, target: float) -> Any:
    """All fits as one compiled function of keys (P,) and data (P, ...); compiling takes far longer than sampling.

    The chains (P, C, D, ...) are on the unconstrained scale: logarithms of what is positive.
    """
    jax, infer = _library("jax"), _library("numpyro.infer")

    def fit(key: Any, data: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        energy = functools.partial(infer.util.potential_energy, _model, (data,), {})
        starting, running = jax.random.split(key)
        sampler = infer.MCMC(
            infer.NUTS(potential_fn=energy, target_accept_prob=target),
            num_warmup=warm_up,
            num_samples=draws,
            num_chains=CHAINS,
            chain_method="vectorized",
            progress_bar=False,
        )
        sampler.run(running, init_params=_start(jax, starting, data), extra_fields=("diverging",))
        return sampler.get_samples(group_by_chain=True), sampler.get_extra_fields()["diverging"]

    return jax.jit(jax.vmap(fit), compiler_options={"xla_backend_optimization_level": 1})


def _start(jax: Any, key: Any, data: dict[str, Any]) -> dict[str, Any]:
    """Where the chains begin: apart from each other, so that R-hat can see whether they meet."""
    methods = len(data["seeds"])
    shift = jax.random.normal(key, (CHAINS, 2 + 2 * methods))
    return {
        "tau": jax.numpy.log(data["scale"]) + shift[:, 0],
        "omega": np.log(POOLING) + shift[:, 1],
        "z": shift[:, 2 : 2 + methods],
        "noise": shift[:, 2 + methods :],
    }


def _model(data: dict[str, Any]) -> None:
    numpyro, dist, numpy = _library("numpyro"), _library("numpyro.distributions"), _library("jax.numpy")
    degrees, methods = data["seeds"] - 1.0, len(data["seeds"])

    def per_method(name: str) -> Any:
        return numpyro.sample(name, dist.Normal(0.0, 1.0).expand([methods]).to_event(1))

    tau = numpyro.sample("tau", dist.FoldedDistribution(dist.StudentT(3.0, 0.0, data["scale"])))
    omega = numpyro.sample("omega", dist.HalfNormal(POOLING))
    own = numpy.square(tau * numpy.exp(omega * per_method("z")))
    # ln(r) is normal to a very good approximation: its degrees of freedom are images x (seeds - 1).
    noise = data["noise"] * numpy.exp(numpy.sqrt(2.0 / data["noise_df"]) * per_method("noise"))
    variance = own + noise + data["rounding"]
    # (S - 1) s² / variance is chi-square with S - 1 degrees of freedom.
    ratio = (data["between"] + data["rounding"]) / variance
    numpyro.factor("between", -0.5 * numpy.sum(degrees * (numpy.log(variance) + ratio)))


def _library(name: str) -> Any:
    try:
        importlib.import_module("numpyro")
        return importlib.import_module(name)
    except ImportError as error:
        raise missing("numpyro", "--bayes", f"cannot be imported ({error})") from None

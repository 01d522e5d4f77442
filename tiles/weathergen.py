"""A stochastic weather generator of the WGEN type, over several weather cells at once.

Richardson (1981), Water Resources Research 17, 182-190; Richardson and Wright (1984), WGEN, USDA ARS-8: rain follows a
two-state Markov chain with gamma amounts; residuals of highest and lowest temperature and of radiation follow a
first-order autoregression with their published matrices; means depend on the season and on whether the day is wet.
Beside that: neighbouring weather cells are correlated through Gaussian fields, and months are wetter or drier than
normal as a whole, since the daily chain alone makes years too much alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .atmosphere import extraterrestrial, saturation_pressure, vpd_from_pressure

Floats = NDArray[np.float64]

# Richardson and Wright (1984): lag-one and innovation matrices of the residuals (tmax, tmin, srad).
A = np.array([[0.567, 0.086, -0.002], [0.253, 0.504, -0.050], [-0.006, -0.039, 0.244]])
B = np.array([[0.781, 0.0, 0.0], [0.328, 0.637, 0.0], [0.238, -0.341, 0.873]])


@dataclass(frozen=True, slots=True)
class Climate:
    """Monthly climate of a place, twelve values each, January first.

    tmax, tmin: mean extremes, degC; *_sd: standard deviation of a day; *_contrast: dry days less wet days, K.
    rain: mm per month. wet_after_dry, wet_after_wet: chance of a day with at least 0.254 mm. shape: of the gamma
    distribution of amounts. srad_dry, srad_wet, *_sd: radiation, MJ m-2 d-1, of dry and wet days.
    wind: mean, m s-1.
    """

    name: str
    source: str
    tmax: tuple[float, ...]
    tmin: tuple[float, ...]
    tmax_sd: tuple[float, ...]
    tmin_sd: tuple[float, ...]
    tmax_contrast: tuple[float, ...]
    tmin_contrast: tuple[float, ...]
    rain: tuple[float, ...]
    wet_after_dry: tuple[float, ...]
    wet_after_wet: tuple[float, ...]
    shape: tuple[float, ...]
    srad_dry: tuple[float, ...]
    srad_wet: tuple[float, ...]
    srad_dry_sd: tuple[float, ...]
    srad_wet_sd: tuple[float, ...]
    wind: tuple[float, ...]

    def wet_fraction(self) -> Floats:
        """[12] share of wet days in the long run of the chain."""
        p01, p11 = np.array(self.wet_after_dry), np.array(self.wet_after_wet)
        return np.asarray(p01 / (1 + p01 - p11), np.float64)

    def srad(self) -> Floats:
        """[12] mean radiation of all days, MJ m-2 d-1."""
        wet = self.wet_fraction()
        return np.asarray(wet * np.array(self.srad_wet) + (1 - wet) * np.array(self.srad_dry), np.float64)


# fmt: off
AMES = Climate(
    name="Ames, Iowa, 1991-2020",
    source="means over 1991-2020 of the daily record of Ames, Iowa (Iowa Environmental Mesonet, station IA0200; "
    "radiation: reanalysis), as compiled in the maRsden data package, MIT licence; wind: rounded from HRRR means of "
    "central Iowa",
    tmax=(-1.84, 0.54, 8.03, 15.69, 21.84, 27.03, 28.61, 27.57, 24.52, 16.87, 8.22, 0.85),
    tmin=(-11.36, -9.07, -2.59, 3.45, 10.34, 15.95, 17.66, 16.41, 11.56, 4.77, -2.36, -8.12),
    tmax_sd=(7.0, 6.8, 7.5, 6.7, 5.7, 4.1, 3.5, 3.5, 5.0, 6.3, 6.7, 6.7),
    tmin_sd=(7.4, 7.2, 6.1, 4.8, 4.4, 3.4, 3.0, 3.0, 4.5, 5.1, 5.5, 6.6),
    tmax_contrast=(1.7, 1.1, 1.9, 2.3, 2.0, 1.7, 0.4, 0.7, 1.5, 2.6, 2.2, 1.4),
    tmin_contrast=(0.1, -1.4, -1.7, -2.1, -1.3, -0.2, -1.3, -1.5, -1.9, -1.9, -1.3, -0.9),
    rain=(20.2, 26.3, 52.7, 91.0, 113.6, 116.5, 103.1, 107.8, 73.7, 64.0, 48.2, 31.3),
    wet_after_dry=(0.161, 0.178, 0.213, 0.270, 0.297, 0.282, 0.244, 0.237, 0.199, 0.196, 0.171, 0.148),
    wet_after_wet=(0.320, 0.339, 0.363, 0.489, 0.531, 0.473, 0.436, 0.507, 0.474, 0.451, 0.449, 0.319),
    shape=(1.15, 1.10, 0.84, 0.82, 0.77, 0.68, 0.64, 0.59, 0.68, 0.84, 0.77, 0.86),
    srad_dry=(7.28, 11.06, 14.55, 19.42, 21.72, 23.81, 23.75, 21.05, 16.96, 11.96, 7.79, 6.15),
    srad_wet=(5.68, 7.55, 9.25, 11.30, 15.48, 17.85, 19.38, 16.27, 12.30, 6.63, 4.64, 4.13),
    srad_dry_sd=(2.5, 3.6, 4.6, 5.3, 5.9, 5.3, 4.7, 4.5, 4.1, 3.5, 2.8, 2.2),
    srad_wet_sd=(2.7, 3.8, 5.1, 6.7, 6.9, 6.7, 6.2, 5.9, 5.8, 4.0, 3.1, 2.3),
    wind=(4.5, 4.5, 4.9, 4.9, 4.2, 3.6, 2.8, 2.7, 3.2, 3.9, 4.4, 4.3),
)
# fmt: on


def generate(
    climate: Climate, days: NDArray[np.datetime64], x: Floats, y: Floats, latitude: Floats, seed: int
) -> dict[str, Floats]:
    """Daily weather of W places on D days: tmean, tmin, tmax, precip, srad, vpd, wind, each [W, D].

    x, y: [W] places on a plane, m. latitude: [W]. The same arguments give the same weather.
    """
    rng = np.random.default_rng(seed)
    months = days.astype("datetime64[M]")
    month = months.astype(int) % 12
    doy = (days - days.astype("datetime64[Y]")).astype(int)
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    near, wide = _root(distance, 150e3), _root(distance, 600e3)
    cells, n = x.size, days.size

    wet = _occurrence(climate, month, wide, rng, n)
    precip = _amounts(climate, months, month, wet, near, rng)

    residual = np.zeros((cells, 3))
    residuals = np.empty((cells, n, 3))
    noise = np.einsum("vw,wdk->vdk", wide, rng.standard_normal((cells, n, 3)))
    for day in range(-60, n):  # sixty days to forget the start
        residual = residual @ A.T + noise[:, day % n] @ B.T
        if day >= 0:
            residuals[:, day] = residual

    share = climate.wet_fraction()
    tmax, tmin = (
        _season(np.array(mean), doy)
        + np.where(wet, -(1 - share[month]), share[month]) * np.array(contrast)[month]
        + _season(np.array(sd), doy) * residuals[:, :, k]
        for k, (mean, sd, contrast) in enumerate(
            (
                (climate.tmax, climate.tmax_sd, climate.tmax_contrast),
                (climate.tmin, climate.tmin_sd, climate.tmin_contrast),
            )
        )
    )
    middle, spread = (tmax + tmin) / 2, np.maximum(tmax - tmin, 1.0)
    tmax, tmin = middle + spread / 2, middle - spread / 2

    above = extraterrestrial(latitude, days)
    mean = np.where(wet, _season(np.array(climate.srad_wet), doy), _season(np.array(climate.srad_dry), doy))
    sd = np.where(wet, np.array(climate.srad_wet_sd)[month], np.array(climate.srad_dry_sd)[month])
    srad = np.clip(mean + sd * residuals[:, :, 2], 0.06 * above, 0.78 * above)

    # FAO-56 (eq. 48): in humid places the dew point is near the lowest temperature, 1-2 K lower on dry days.
    dew = tmin - np.where(wet, 0.0, 1.2)
    vpd = vpd_from_pressure(tmin, tmax, saturation_pressure(dew))

    gust = np.zeros(cells)
    wind = np.empty((cells, n))
    shake = wide @ rng.standard_normal((cells, n))
    for day in range(n):
        gust = 0.45 * gust + np.sqrt(1 - 0.45**2) * shake[:, day]
        wind[:, day] = np.exp(0.38 * gust - 0.38**2 / 2)
    wind *= _season(np.array(climate.wind), doy)
    return {"tmean": middle, "tmin": tmin, "tmax": tmax, "precip": precip, "srad": srad, "vpd": vpd, "wind": wind}


def _occurrence(
    climate: Climate, month: NDArray[np.int64], root: Floats, rng: np.random.Generator, n: int
) -> NDArray[np.bool_]:
    from scipy.special import ndtr

    chance = ndtr(root @ rng.standard_normal((root.shape[0], n)))
    dry, wet = np.array(climate.wet_after_dry), np.array(climate.wet_after_wet)
    state = chance[:, 0] < climate.wet_fraction()[month[0]]
    states = np.empty(chance.shape, bool)
    for day in range(n):
        m = month[day]
        state = chance[:, day] < np.where(state, wet[m], dry[m])
        states[:, day] = state
    return states


def _amounts(
    climate: Climate,
    months: NDArray[np.datetime64],
    month: NDArray[np.int64],
    wet: NDArray[np.bool_],
    root: Floats,
    rng: np.random.Generator,
) -> Floats:
    from scipy.special import gammaincinv, ndtr

    length = np.array([31, 28.25, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    amount = np.array(climate.rain) / (length * climate.wet_fraction())
    shape = np.array(climate.shape)
    quantile = ndtr(root @ rng.standard_normal(wet.shape))
    rain = gammaincinv(shape[month], np.clip(quantile, 1e-9, 1 - 1e-6)) / shape[month] * amount[month]

    number = (months - months[0]).astype(int)
    anomaly = np.zeros(number[-1] + 1)
    step = rng.standard_normal(anomaly.size)
    for k in range(anomaly.size):
        anomaly[k] = 0.5 * (anomaly[k - 1] if k else step[0]) + np.sqrt(0.75) * step[k]
    spread = 0.3
    return np.asarray(np.where(wet, rain * np.exp(spread * anomaly - spread**2 / 2)[number], 0.0), np.float64)


def _root(distance: Floats, length: float) -> Floats:
    """Lower root of the correlation exp(-distance / length) between places."""
    return np.asarray(np.linalg.cholesky(np.exp(-distance / length) + 1e-9 * np.eye(len(distance))), np.float64)


def _season(monthly: Floats, doy: NDArray[np.int64]) -> Floats:
    """[D] smooth daily values whose monthly means are the twelve given: harmonics, undamped by a month's averaging."""
    wave = np.fft.rfft(monthly) / 12
    wave[5:] = 0
    phase = 2 * np.pi * ((doy + 0.5) / 365.25 - 0.5 / 12)
    daily = np.full(doy.shape, wave[0].real)
    for k in range(1, 5):
        daily += 2 * (wave[k] * np.exp(1j * k * phase)).real / np.sinc(k / 12)
    return daily

"""Rare events of a trajectory, counted: hops of ions, flips of tetrahedra, and whether one comes with the other.

A carrier rests on a plateau (an ion at its site, a tetrahedron in its orientation) and an event is that a short-time
average leaves the plateau and stays away. The thresholds are definitions, not physics: report them with the rates.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase.geometry import find_mic
from scipy.ndimage import uniform_filter1d
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from matterscape.checks import check_number, check_whole, is_number, real_array
from matterscape.transport._event_kernels import find_departures, find_moves
from matterscape.transport.tetrahedra import nearest_rotations


@dataclass(frozen=True, eq=False)
class Events:
    """Events of like carriers, independent of each other as far as the errors are concerned (Poisson statistics).

    Attributes
    ----------
    times_ps : array (n_events,)
        When, since the first frame, ascending.
    carriers : array (n_events,), int64
        Which ion or tetrahedron.
    n_carriers : int
        How many there are.
    duration_ps : float
        How long an event could have been seen.
    """

    times_ps: np.ndarray
    carriers: np.ndarray
    n_carriers: int
    duration_ps: float

    def __len__(self) -> int:
        return len(self.times_ps)

    @property
    def exposure_ps(self) -> float:
        """Time watched, summed over the carriers, in ps."""
        return self.n_carriers * self.duration_ps

    @property
    def rate_per_s(self) -> float:
        """Events per carrier and second."""
        return len(self) / (self.exposure_ps * 1e-12)

    @property
    def rate_error_per_s(self) -> float:
        """Standard error sqrt(n) of the rate in 1/s; zero without events, where :meth:`rate_interval_per_s` serves."""
        return np.sqrt(len(self)) / (self.exposure_ps * 1e-12)

    def rate_interval_per_s(self, confidence: float = 0.6827) -> tuple[float, float]:
        """Central confidence interval of the rate from Poisson counts, exact for few events and for none.

        Parameters
        ----------
        confidence : float
            Between 0 and 1.

        Returns
        -------
        lower, upper : float
            In 1/s.

        Source: F. Garwood, Biometrika 28, 437 (1936).
        """
        if not is_number(confidence) or not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence!r}; accepted is a number between 0 and 1")
        tail = (1 - confidence) / 2
        lower = chi2.ppf(tail, 2 * len(self)) / 2 if len(self) else 0.0
        upper = chi2.ppf(1 - tail, 2 * len(self) + 2) / 2
        return tuple(float(count / (self.exposure_ps * 1e-12)) for count in (lower, upper))

    def counts(self) -> np.ndarray:
        """Number of events of each carrier (n_carriers,), int64."""
        return np.bincount(self.carriers, minlength=self.n_carriers)


@dataclass(frozen=True, eq=False)
class SiteMoves(Events):
    """Events that lead from one site to another.

    Attributes
    ----------
    origins, targets : arrays (n_events,), int64
        Sites left and reached.
    """

    origins: np.ndarray
    targets: np.ndarray


def rate_ratio(first: Events, second: Events) -> tuple[float, float]:
    """How many times more frequent the first events are, per carrier, with its standard error.

    Raises
    ------
    ValueError
        If one of the two has no events: give the interval of its rate instead.
    """
    for name, events in (("first", first), ("second", second)):
        if not len(events):
            raise ValueError(f"{name} has no events; accepted is at least one, else use rate_interval_per_s")
    ratio = first.rate_per_s / second.rate_per_s
    return ratio, ratio * np.sqrt(1 / len(first) + 1 / len(second))


def hop_events(
    positions: np.ndarray,
    timestep_fs: float,
    *,
    distance: float = 2.0,
    window_ps: float = 0.5,
    stay_ps: float = 0.5,
) -> Events:
    """Hops of ions: the running average of the position leaves its site and stays away.

    The site is the mean of the running average since the last hop. Two hops within ``stay_ps`` count as one.

    Parameters
    ----------
    positions : array (n_times, n_ions, 3)
        Unwrapped, in Å, without drift of the host, see :func:`matterscape.transport.density_sites.host_frame`.
    timestep_fs : float
        Between two frames.
    distance : float
        In Å.
    window_ps : float
        Length of the running average.
    stay_ps : float
        How long it must stay away.

    Returns
    -------
    Events

    Raises
    ------
    ValueError
        If a number is out of range, or the trajectory too short.
    """
    check_number("distance", distance, "Å", positive=True)
    positions = real_array("positions", positions)
    if positions.ndim != 3 or positions.shape[2] != 3 or 0 in positions.shape:
        raise ValueError(f"positions has shape {positions.shape}; accepted is (n_times, n_ions, 3)")
    averaged, clock = _averaged(positions, timestep_fs, window_ps, stay_ps)
    return _departures(averaged, clock, float(distance), antipodal=False)


def flip_events(
    rotations: np.ndarray,
    timestep_fs: float,
    *,
    angle_deg: float = 60.0,
    window_ps: float = 2.0,
    stay_ps: float = 2.0,
) -> Events:
    """Flips of tetrahedra: the running average of the orientation leaves its plateau and stays away.

    The plateau is the mean of the running average since the last flip. Librations are averaged out; flips that follow
    each other within ``stay_ps`` count as one.

    Parameters
    ----------
    rotations : array (n_times, n_tetrahedra, 3, 3)
        See :func:`matterscape.transport.tetrahedra.tetrahedron_rotations`.
    timestep_fs : float
        Between two frames.
    angle_deg : float
        Between 0 and 180.
    window_ps : float
        Length of the running average.
    stay_ps : float
        How long it must stay away.

    Returns
    -------
    Events

    Raises
    ------
    ValueError
        If a number is out of range, or the trajectory too short.
    """
    if not is_number(angle_deg) or not 0 < angle_deg < 180:
        raise ValueError(f"angle_deg is {angle_deg!r}; accepted is between 0 and 180")
    rotations = real_array("rotations", rotations)
    if rotations.ndim != 4 or rotations.shape[2:] != (3, 3) or 0 in rotations.shape:
        raise ValueError(f"rotations has shape {rotations.shape}; accepted is (n_times, n_tetrahedra, 3, 3)")
    averaged, clock = _averaged(rotations, timestep_fs, window_ps, stay_ps)
    quaternions = Rotation.from_matrix(nearest_rotations(averaged).reshape(-1, 3, 3)).as_quat()
    # unit quaternions of rotations that differ by an angle are 2 sin(angle / 4) apart
    threshold = 2 * np.sin(np.radians(angle_deg) / 4)
    return _departures(quaternions.reshape(*averaged.shape[:2], 4), clock, threshold, antipodal=True)


def site_moves(sites: np.ndarray, timestep_fs: float, *, stay_ps: float = 0.5) -> SiteMoves:
    """Hops of ions as changes of their Voronoi site.

    Parameters
    ----------
    sites : array (n_times, n_ions), integer
        Nearest site of each ion, see :meth:`matterscape.transport.density_sites.Sites.occupied`.
    timestep_fs : float
        Between two frames.
    stay_ps : float
        The new site counts if the ion is there for so long.

    Returns
    -------
    SiteMoves

    Raises
    ------
    ValueError
        If a number is out of range, or the trajectory too short.
    """
    sites = np.asarray(sites)
    if sites.ndim != 2 or 0 in sites.shape or not np.issubdtype(sites.dtype, np.integer):
        raise ValueError(f"sites is {sites.dtype} of shape {sites.shape}; accepted are integers (n_times, n_ions)")
    clock = _Clock.checked(len(sites), timestep_fs, 0.0, stay_ps)
    by_carrier = np.ascontiguousarray(sites.T, dtype=np.int64)
    times, carriers, origins, targets = _filled(lambda *out: find_moves(by_carrier, clock.n_stay, *out), 4)
    return clock.events(times, carriers, len(by_carrier), SiteMoves, origins=origins, targets=targets)


def residence_times(moves: SiteMoves) -> np.ndarray:
    """Completed stays of ions at sites: the times in ps between two moves of the same ion, (n_stays,).

    Stays that the trajectory cuts off at its ends are left out, which favours short ones; the mean residence time
    without that bias is ``moves.exposure_ps / len(moves)``.
    """
    order = np.lexsort((moves.times_ps, moves.carriers))
    waits, same = np.diff(moves.times_ps[order]), np.diff(moves.carriers[order]) == 0
    return waits[same]


def nearest_partners(
    events: Events, positions: np.ndarray, partners: np.ndarray, cell: np.ndarray, timestep_fs: float
) -> np.ndarray:
    """The partner closest to the carrier of each event, when it happens.

    Parameters
    ----------
    events : Events
        Such as hops.
    positions : array (n_times, n_carriers, 3)
        Of the carriers, in Å, wrapped or not.
    partners : array (n_times, n_partners, 3)
        Such as the centres of the tetrahedra.
    cell : array (3, 3)
        Cell vectors as rows, periodic in all three.
    timestep_fs : float
        Between two frames.

    Returns
    -------
    array (n_events,), int64

    Raises
    ------
    ValueError
        If shapes do not fit.
    """
    positions, partners = np.asarray(positions), np.asarray(partners)
    if positions.ndim != 3 or partners.ndim != 3 or len(positions) != len(partners):
        raise ValueError(
            f"positions and partners have shapes {positions.shape} and {partners.shape}; accepted are "
            "(n_times, n_carriers, 3) and (n_times, n_partners, 3)"
        )
    frames = np.minimum(np.round(events.times_ps * 1e3 / timestep_fs).astype(np.int64), len(positions) - 1)
    vectors = partners[frames] - positions[frames, events.carriers][:, None]
    distances = find_mic(vectors.reshape(-1, 3), np.asarray(cell), pbc=True)[1]
    return distances.reshape(len(events), -1).argmin(axis=1)


@dataclass(frozen=True, eq=False)
class EventCorrelation:
    """How often second events happen at a time after (before, if negative) first events of their partner.

    Attributes
    ----------
    lags_ps : array (n_bins,)
        Middle of each bin.
    counts : array (n_bins,)
        Pairs of events.
    control : array (n_bins,)
        The same for shuffled events, in the mean.
    control_deviation : array (n_bins,)
        Standard deviation of one shuffled count.
    """

    lags_ps: np.ndarray
    counts: np.ndarray
    control: np.ndarray
    control_deviation: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Counts over those of the control (n_bins,); 1 for independent events, NaN where the control has none."""
        return np.divide(self.counts, self.control, out=np.full(len(self.counts), np.nan), where=self.control > 0)

    @property
    def ratio_error(self) -> np.ndarray:
        """Standard deviation of :attr:`ratio` (n_bins,) if the events were independent."""
        return np.divide(
            self.control_deviation, self.control, out=np.full(len(self.counts), np.nan), where=self.control > 0
        )


def event_correlation(
    first: Events,
    second: Events,
    partners: np.ndarray,
    *,
    maximum_lag_ps: float = 10.0,
    n_bins: int = 21,
    n_shuffles: int = 200,
    seed: int | np.random.Generator = 0,
) -> EventCorrelation:
    """Time-lagged correlation of events, such as hops, with those of their partners, such as flips of the nearest PS4.

    The control shifts the second events of every carrier in time, round the ends, by a random amount each: rates and
    bursts stay as they are, what they have to do with the first events is lost.

    Parameters
    ----------
    first, second : Events
        Of one trajectory.
    partners : array (n_first,), integer
        Carrier of second events that belongs to each first event, see :func:`nearest_partners`.
    maximum_lag_ps : float
        Less than half the time in which second events could be seen.
    n_bins : int
        Bins from minus to plus the largest lag; with an odd number one is centred at zero.
    n_shuffles : int
        At least 2.
    seed : int or numpy.random.Generator

    Returns
    -------
    EventCorrelation

    Raises
    ------
    ValueError
        If shapes do not fit or a number is out of range.
    """
    check_whole("n_bins", n_bins, 1)
    check_whole("n_shuffles", n_shuffles, 2)
    if not is_number(maximum_lag_ps) or not 0 < maximum_lag_ps < second.duration_ps / 2:
        raise ValueError(
            f"maximum_lag_ps is {maximum_lag_ps!r}; accepted is between 0 and half of {second.duration_ps:g} ps"
        )
    partners = np.asarray(partners)
    if partners.shape != (len(first),) or not np.issubdtype(partners.dtype, np.integer):
        raise ValueError(
            f"partners is {partners.dtype} of shape {partners.shape}; accepted are {len(first)} integers, "
            "one for each first event"
        )
    if len(partners) and not 0 <= partners.min() <= partners.max() < second.n_carriers:
        raise ValueError(
            f"partners run from {partners.min()} to {partners.max()}; accepted are 0 to {second.n_carriers - 1}"
        )
    period = second.duration_ps
    edges = np.linspace(-maximum_lag_ps, maximum_lag_ps, int(n_bins) + 1)
    of_partner = partners[:, None] == second.carriers  # (first, second)
    pairs = np.nonzero(of_partner)
    lags = second.times_ps[pairs[1]] - first.times_ps[pairs[0]]

    def count(shifts: np.ndarray) -> np.ndarray:
        # both the events and their control go round the ends
        turned = (lags + shifts[second.carriers[pairs[1]]] + period / 2) % period - period / 2
        return np.histogram(turned, edges)[0]

    generator = np.random.default_rng(seed)
    shuffled = np.array([count(generator.uniform(0, period, second.n_carriers)) for _ in range(int(n_shuffles))])
    return EventCorrelation(
        lags_ps=(edges[1:] + edges[:-1]) / 2,
        counts=count(np.zeros(second.n_carriers)),
        control=shuffled.mean(axis=0),
        control_deviation=shuffled.std(axis=0, ddof=1),
    )


@dataclass(frozen=True)
class _Clock:
    """Steps of a running average, and how they lie in time."""

    timestep_ps: float
    n_steps: int
    n_window: int
    n_stay: int

    @classmethod
    def checked(cls, n_times: int, timestep_fs: float, window_ps: float, stay_ps: float) -> "_Clock":
        check_number("timestep_fs", timestep_fs, "fs", positive=True)
        check_number("window_ps", window_ps, "ps")
        check_number("stay_ps", stay_ps, "ps")
        n_window = max(1, round(window_ps * 1e3 / timestep_fs))
        n_stay = round(stay_ps * 1e3 / timestep_fs)
        clock = cls(timestep_fs * 1e-3, n_times - n_window + 1, n_window, n_stay)
        if clock.n_steps < n_stay + 2:
            raise ValueError(
                f"the trajectory has {n_times} frames; accepted are at least {n_window + n_stay + 1}, the running "
                "average and the stay after an event"
            )
        return clock

    def events(
        self,
        steps: np.ndarray,
        carriers: np.ndarray,
        n_carriers: int,
        kind: type[Events] = Events,
        **columns: np.ndarray,
    ) -> Events:
        """Events of the steps, ascending in time; a step's time is the middle of its average."""
        order = np.lexsort((carriers, steps))
        return kind(
            times_ps=(steps[order] + (self.n_window - 1) / 2) * self.timestep_ps,
            carriers=carriers[order],
            n_carriers=n_carriers,
            duration_ps=(self.n_steps - 1 - self.n_stay) * self.timestep_ps,
            **{name: column[order] for name, column in columns.items()},
        )


def _averaged(values: np.ndarray, timestep_fs: float, window_ps: float, stay_ps: float) -> tuple[np.ndarray, _Clock]:
    """Running averages (n_steps, ...) over whole windows, and their clock."""
    clock = _Clock.checked(len(values), timestep_fs, window_ps, stay_ps)
    if clock.n_window == 1:
        return values, clock
    # the filter's window reaches n // 2 steps back
    start = clock.n_window // 2
    return uniform_filter1d(values, clock.n_window, axis=0)[start : start + clock.n_steps], clock


def _departures(points: np.ndarray, clock: _Clock, threshold: float, antipodal: bool) -> Events:
    by_carrier = np.ascontiguousarray(np.moveaxis(points, 0, 1))
    times, carriers = _filled(lambda *out: find_departures(by_carrier, threshold, clock.n_stay, antipodal, *out), 2)
    return clock.events(times, carriers, len(by_carrier))


def _filled(kernel: Callable[..., int], n_columns: int) -> list[np.ndarray]:
    """Columns that a kernel fills; it is called again with longer ones if they do not suffice."""
    size = 1024
    while True:
        columns = [np.empty(size, np.int64) for _ in range(n_columns)]
        n_found = kernel(*columns)
        if n_found <= size:
            return [column[:n_found] for column in columns]
        size = n_found

"""Files of currents: what is read, what is guessed, and the sentence for everything that is wrong."""

import gzip
import warnings

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from matterscape.transport.currents import Currents, MomentumWarning
from matterscape.transport.readers import CurrentsFileError, CurrentsFileWarning, open_currents, read_currents
from matterscape.transport.readers.unit_styles import STYLES

pytestmark = pytest.mark.unit

CONDITIONS = {"timestep_fs": 2.0, "temperature_K": 300.0, "volume": 1000.0}
LOG = """LAMMPS (2 Aug 2023)
units metal
timestep 0.002
thermo 5
run 10
Per MPI rank memory allocation (min/avg/max) = 3.973 | 3.973 | 3.973 Mbytes
   Step          Temp        c_flux[1]      c_flux[2]      c_flux[3]        Volume
         0   60             1.5           2.5            3.5           3929.3526
         5   59.5           1.25          2.25           3.25          3929.3526
        10   58.5           1.75          2.75           3.75          3929.3526
Loop time of 0.00148839 on 1 procs for 10 steps with 108 atoms

Performance: 2321.969 ns/day, 0.010 hours/ns, 13437.320 timesteps/s, 1.451 Matom-step/s
run 15
Per MPI rank memory allocation (min/avg/max) = 3.973 | 3.973 | 3.973 Mbytes
   Step          Temp        c_flux[1]      c_flux[2]      c_flux[3]        Volume
        10   58.5           1.75          2.75           3.75          3929.3526
        15   57             -1.5          -2.5           3.25          3929.3526
WARNING: Communication cutoff is small (src/comm.cpp:1)
        20   56             4.5           5.5            6.5           3929.3526
        25   55             -7.5          8.5            9.5           3929.3526
Loop time of 0.00148839 on 1 procs for 15 steps with 108 atoms
"""


@pytest.fixture
def write(tmp_path):
    """``write(name, text or bytes)`` makes a file and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(source, *arguments, **choices):
    """Read and return currents and the text of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        currents = read_currents(source, *arguments, **choices)
    assert all(issubclass(one.category, CurrentsFileWarning) for one in caught)
    return currents, " ".join(str(one.message) for one in caught)


@pytest.fixture
def rows():
    return np.random.default_rng(3).normal(size=(50, 7)) + 0.3


def as_text(rows, separator=" "):
    return "\n".join(separator.join(f"{value:.17g}" for value in row) for row in rows) + "\n"


# -- LAMMPS ------------------------------------------------------------------------------------------------------------


def test_log_says_all_by_itself(write):
    currents, said = read(write("log.lammps", LOG))
    assert currents.names == ("energy",) and currents.values.shape == (1, 1, 3, 4)
    np.testing.assert_array_equal(currents["energy"][0, 1], [2.75, -2.5, 5.5, 8.5])
    assert (currents.timestep_fs, currents.volume) == (10.0, 3929.3526)
    assert currents.temperature_K == pytest.approx((58.5 + 57 + 56 + 55) / 4)
    assert "energy current guessed to be c_flux" in said and "the last of 2 runs" in said and "mean of a column" in said


def test_runs_of_a_log_become_segments(write):
    path = write("log.lammps", LOG)
    first, _ = read(path, runs=0)
    assert first.n_samples == 3 and first["energy"][0, 0, -1] == 1.75
    both, said = read(path, runs="all")
    assert both.values.shape == (1, 2, 3, 3) and "runs of 3, 4 rows, cut to the shortest" in said
    np.testing.assert_array_equal(both["energy"][1, 0], [1.75, -1.5, 4.5])
    np.testing.assert_array_equal(read(path, runs=[-1, 0])[0].values, both.values[:, ::-1])
    slower = write("slower.lammps", LOG.replace("run 15\n", "timestep 0.001\nrun 15\n"))
    assert [read(slower, runs=run)[0].timestep_fs for run in (0, 1)] == [10.0, 5.0]
    with pytest.raises(CurrentsFileError, match="slower.lammps has runs with 10, 5 fs between their rows"):
        read(slower, runs="all")
    with pytest.raises(ValueError, match=r"runs are 2, but log.lammps has 2 with more than one row"):
        read(path, runs=2)


def test_a_log_that_is_still_written(write):
    unfinished = LOG[: LOG.index("        25   55") + 30]
    currents, said = read(write("log.lammps", unfinished))
    assert currents.n_samples == 3 and "the last line is cut off and was left out" in said


def test_log_in_yaml(write):
    lines = LOG.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("Per MPI")) + 1
    data = [line.split() for line in lines[start + 1 : start + 4]]
    text = "\n".join(
        [
            *lines[:start],
            "---",
            f"keywords: [{', '.join(repr(title) for title in lines[start].split())}, ]",
            "data:",
            *(f"  - [{', '.join(row)}, ]" for row in data),
            "...",
            "Loop time of 1",
        ]
    )
    np.testing.assert_array_equal(read(write("log", text))[0].values, read(write("log2", LOG), runs=0)[0].values)


def test_log_in_many_lines(write):
    blocks = "".join(
        f"------------ Step {5 * k:14d} ----- CPU = {0.1 * k:12.6f} (sec) -------------\n"
        f"Temp     = {60 - k:14.4f} c_flux[1] = {1.5 + k:14.4f} c_flux[2] = {2 - k:14.4f}\n"
        f"c_flux[3] = {3.25 * k:14.4f} Volume   = {100:14.4f}\n"
        for k in range(4)
    )
    head = LOG[: LOG.index("   Step ")]
    currents, _ = read(write("log", f"{head}{blocks}Loop time of 1\n"))
    np.testing.assert_array_equal(currents["energy"][0], [[1.5, 2.5, 3.5, 4.5], [2, 1, 0, -1], [0, 3.25, 6.5, 9.75]])
    assert (currents.timestep_fs, currents.volume, currents.temperature_K) == (10.0, 100.0, 58.5)
    with pytest.raises(CurrentsFileError, match=r"log, line 10 begins a step with other values"):
        read(write("log", f"{head}{blocks.replace('c_flux[1] =         2.5000', '')}Loop time of 1\n"))


def test_units_of_a_log(write):
    real = LOG.replace("units metal", "units real").replace("timestep 0.002", "timestep 0.5")
    currents, _ = read(write("log", real))
    metal, _ = read(write("log", LOG))
    assert currents.timestep_fs == 2.5
    # 1 kcal/mol Å/fs in eV Å/ps
    np.testing.assert_allclose(currents.values, metal.values * units.kcal / units.mol * 1000, rtol=1e-14)
    assert read(write("log", LOG.replace("timestep 0.002\n", "")))[0].timestep_fs == 5.0  # 1 fs, as LAMMPS has it
    with pytest.raises(ValueError, match="units are 'lj', which fix no temperature in K; accepted are metal, real"):
        read(write("log", LOG.replace("units metal", "units lj")), timestep_fs=1)


def test_log_without_output(write):
    with pytest.raises(CurrentsFileError, match="log is a log of LAMMPS without thermodynamic output"):
        read(write("log", LOG[:100]))


def test_a_volume_that_varies_is_refused(write):
    varying = LOG.replace("8.5            9.5           3929.3526", "8.5            9.5           3950")
    with pytest.raises(CurrentsFileError, match=r"volume that varies from 3929.35 to 3950 Å\^3"):
        read(write("log", varying))
    assert read(write("log", varying), volume=3929.0)[0].volume == 3929.0


def test_averages(write, rows):
    steps = 100 + 20 * np.arange(50)
    table = np.column_stack([steps, rows])
    titles = "# Time-averaged data for fix av\n# TimeStep c_flux[1] c_flux[2] c_flux[3] c_vcm[1] v_jx v_jy v_jz\n"
    currents, said = read(write("ave", titles + as_text(table)), **CONDITIONS)
    assert currents.names == ("energy", "energy 2") and currents.timestep_fs == 40.0
    np.testing.assert_array_equal(currents["energy"][0], rows[:, :3].T)
    assert "units taken to be metal" in said
    entries = "".join(
        f"{step} 4\n" + "".join(f"{entry + 1} {row[entry]:.17g}\n" for entry in range(4))
        for step, row in zip(steps, rows)
    )
    vector = f"# Time-averaged data for fix av\n# TimeStep Number-of-rows\n# Row c_flux\n{entries}"
    np.testing.assert_array_equal(read(write("ave", vector), **CONDITIONS)[0]["energy"][0], rows[:, :3].T)
    with pytest.raises(CurrentsFileError, match="ave, line 9 must hold a step and the number of rows 4"):
        read(write("ave", vector.replace("\n120 4\n", "\n120 5\n")), **CONDITIONS)


def test_steps_must_be_equal(write, rows):
    steps = np.concatenate([np.arange(30), np.arange(31, 51)])
    text = "# TimeStep c_flux[1] c_flux[2] c_flux[3]\n" + as_text(np.column_stack([steps, rows[:, :3]]))
    with pytest.raises(
        CurrentsFileError, match="ave, line 32: TimeStep goes from 29 to 31; accepted are equal steps, 1 b"
    ):
        read(write("ave", text), **CONDITIONS)
    text = "# TimeStep c_flux[1] c_flux[2] c_flux[3]\n" + as_text(np.column_stack([np.arange(50), rows[:, :3]]))
    with pytest.raises(ValueError, match="every is 3, but ave has a row every 1 steps"):
        read(write("ave", text), every=3, **CONDITIONS)


# -- i-PI --------------------------------------------------------------------------------------------------------------


def test_properties_of_ipi(write, rows):
    header = (
        "# column   1     --> step : The current simulation time step.\n"
        "# column   2     --> time{femtosecond} : The elapsed simulation time.\n"
        "# column   3     --> temperature{kelvin} : The current temperature\n"
        "# column   4     --> volume : The volume of the cell.\n"
        "# cols.    5-7   --> vcom(O) : The COM velocity\n"
    )
    table = np.column_stack([np.arange(50), 2.0 * np.arange(50), 300 + rows[:, 0], np.full(50, 6000.0), rows[:, 1:4]])
    currents, _ = read(
        write("out", header + as_text(table)), {"O": "vcom(O)"}, kinds={"O": "number"}, factors={"O": 64}
    )
    assert currents.timestep_fs == pytest.approx(2.0)
    assert currents.volume == pytest.approx(6000 * units.Bohr**3)
    assert currents.temperature_K == pytest.approx(300 + rows[:, 0].mean())
    # 1 bohr per atomic unit of time is alpha c = 21876.9 Å/ps
    np.testing.assert_allclose(currents["O"][0], 64 * rows[:, 1:4].T * units.alpha * units._c * 1e-2, rtol=1e-8)
    with pytest.raises(CurrentsFileError, match=r"out has the unit 'fortnight' for time; accepted are second, ase"):
        read(write("out", header.replace("femtosecond", "fortnight") + as_text(table)))


# -- plain columns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "separator"),
    [
        ("T Jx Jy Jz Jcx Jcy Jcz\n", " "),
        ("# made by hand\n# T J_x J_y J_z Jc_x Jc_y Jc_z\n", "\t"),
        ("T,J[1],J[2],J[3],Jc[1],Jc[2],Jc[3]\n", ","),
        ("% T; Jx; Jy; Jz; Jcx; Jcy; Jcz\n\n", ";"),
    ],
)
def test_columns_with_titles(write, rows, head, separator):
    currents, said = read(write("table.dat", head + as_text(rows, separator)), **CONDITIONS)
    assert currents.names == currents.kinds == ("energy", "charge") and currents.timestep_fs == 2.0
    np.testing.assert_array_equal(currents.values[:, 0], [rows[:, 1:4].T, rows[:, 4:].T])
    assert "energy current guessed to be J" in said


def test_columns_without_titles_are_chosen_by_number(write, rows):
    path = write("table.dat", as_text(rows))
    currents, said = read(
        path,
        {"heat": [4, 5, 6], "Na": ["column 1", 2, 3]},
        kinds={"heat": "energy", "Na": "number"},
        units="real",
        **CONDITIONS,
    )
    assert said == "" and currents.names == ("heat", "Na") and currents.kinds == ("energy", "number")
    np.testing.assert_allclose(currents["heat"][0], rows[:, 4:].T * STYLES["real"].current("energy"))
    np.testing.assert_allclose(currents["Na"][0], rows[:, 1:4].T * 1000.0)
    one, _ = read(path, {"energy": 2}, **CONDITIONS)
    assert one.n_components == 1
    with pytest.raises(CurrentsFileError, match="has the columns column 0, column 1, .* none of which is known"):
        read(path, **CONDITIONS)
    with pytest.raises(
        CurrentsFileError, match="no column 7 for the current 'energy'; accepted are column 0, .* 0 to 6"
    ):
        read(path, {"energy": [7]}, **CONDITIONS)
    with pytest.raises(ValueError, match="different numbers of components .energy 3, charge 2."):
        read(path, {"energy": [0, 1, 2], "charge": [3, 4]}, **CONDITIONS)
    with pytest.raises(ValueError, match="current 'Na' has no kind"):
        read(path, {"Na": [0, 1, 2]}, **CONDITIONS)
    with pytest.raises(ValueError, match="factors have 'ions', which is no current; accepted are energy"):
        read(path, {"energy": [0, 1, 2]}, factors={"ions": 2}, **CONDITIONS)


def test_stride_and_factor(write, rows):
    currents, _ = read(
        write("table.dat", as_text(rows)), {"energy": [0, 1, 2]}, factors={"energy": 1000.0}, every=5, **CONDITIONS
    )
    assert currents.timestep_fs == 10.0
    np.testing.assert_allclose(currents["energy"][0], 1000 * rows[:, :3].T)


def test_a_time_column_is_believed(write, rows):
    text = "t_ps Jx Jy Jz\n" + as_text(np.column_stack([np.round(0.004 * np.arange(50), 3), rows[:, :3]]))
    currents, _ = read(write("table", text), temperature_K=300, volume=1000)
    assert currents.timestep_fs == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (
            "timestep_fs",
            "does not say how much time lies between its rows; give timestep_fs, the time in fs of one row",
        ),
        ("temperature_K", "does not say the temperature; give temperature_K, in K"),
        ("volume", "does not say the volume; give volume of the cell"),
    ],
)
def test_what_is_missing_is_asked_for(write, rows, missing, sentence):
    path = write("table", "Jx Jy Jz\n" + as_text(rows[:, :3]))
    given = {name: value for name, value in CONDITIONS.items() if name != missing}
    assert set(open_currents(path).missing) == set(CONDITIONS)
    with pytest.raises(CurrentsFileError, match=sentence):
        read(path, **given)
    with pytest.raises(ValueError, match=f"{missing} is -1"):
        read(path, **given, **{missing: -1})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: lines[:7] + ["1 2 3 4"] + lines[7:], "table, line 8 has 4 columns; the others have 3"),
        (lambda lines: lines[:7] + ["1 2"] + lines[7:], "table, line 8 has 2 columns; the others have 3"),
        (lambda lines: lines[:7] + ["1 2 three"] + lines[7:], "table, line 8 has 'three'; accepted are numbers"),
        (lambda lines: lines[:7] + ["1 nan 3"] + lines[7:], "line 8 has nan in the column Jy; accepted are finite"),
        (lambda lines: lines[:7] + ["1 2 inf"] + lines[7:], "line 8 has inf in the column Jz; accepted are finite"),
        (lambda lines: lines[:1], "table holds no row of numbers"),
        (lambda lines: lines[:2], "table has no run with more than one row"),
        (lambda lines: ["Jx Jx Jz", *lines[1:]], "table has two columns of the name 'Jx'"),
        (lambda lines: ["Jx Jy", *lines[1:]], "table has 2 titles and 3 columns in line 2"),
        (lambda lines: ["", " "], "table is empty"),
    ],
)
def test_broken_tables(write, rows, change, sentence):
    lines = ["Jx Jy Jz", *as_text(rows[:, :3]).splitlines()]
    with pytest.raises(CurrentsFileError, match=sentence) as caught:
        read(write("table", "\n".join(change(lines)) + "\n"), **CONDITIONS)
    assert "\n" not in str(caught.value)


def test_nan_in_another_column_does_no_harm(write, rows):
    rows[3, 6] = np.nan
    currents, _ = read(write("table", as_text(rows)), {"energy": [0, 1, 2]}, **CONDITIONS)
    np.testing.assert_array_equal(currents["energy"][0], rows[:, :3].T)


def test_comments_and_empty_lines_between_rows_keep_the_line_numbers(write, rows):
    lines = as_text(rows[:, :3]).splitlines()
    lines.insert(4, "# restarted here")
    lines.insert(9, "")
    path = write("table", "\n".join(["Jx Jy Jz", *lines]))
    np.testing.assert_array_equal(read(path, **CONDITIONS)[0]["energy"][0], rows[:, :3].T)
    lines[20] = "0 nan 0"
    with pytest.raises(CurrentsFileError, match="line 22 has nan"):
        read(write("table", "\n".join(["Jx Jy Jz", *lines])), **CONDITIONS)


def test_a_subtracted_mean_is_refused_and_none_is_ever_subtracted(write, rows):
    currents, _ = read(write("table", "Jx Jy Jz\n" + as_text(rows[:, :3])), **CONDITIONS)
    np.testing.assert_allclose(currents["energy"][0].mean(axis=1), rows[:, :3].mean(axis=0), rtol=1e-12)
    with pytest.raises(CurrentsFileError, match="table: the time mean of current 'energy' has been subtracted"):
        read(write("table", "Jx Jy Jz\n" + as_text(rows[:, :3] - rows[:, :3].mean(axis=0))), **CONDITIONS)


def test_dependent_currents_are_not_guessed(write, rows):
    both = np.column_stack([rows[:, :6], -0.65 * rows[:, 3:6]])
    titles = " ".join(f"{name}[{k}]" for name in ("c_flux", "c_vcm[1]", "c_vcm[2]") for k in (1, 2, 3))
    currents, said = read(write("table", f"{titles}\n{as_text(both)}"), **CONDITIONS)
    assert currents.names == ("energy", "number") and "c_vcm[2] left out, a linear combination of the others" in said


# -- numpy files, compressed files, uploads, several files -------------------------------------------------------------


def test_archives(write, tmp_path, rows):
    path = tmp_path / "a.npz"
    np.savez(
        path, qflux=rows[:, :3], ele_flux=rows[:, 3:6].T, Temperature=1300.0, Volume=9090.0, DT_FS=1.0, note="text"
    )
    currents, said = read(path)
    assert currents.names == ("energy", "charge")
    assert (currents.timestep_fs, currents.temperature_K, currents.volume) == (1.0, 1300.0, 9090.0)
    np.testing.assert_array_equal(currents.values[:, 0], [rows[:, :3].T, rows[:, 3:6].T])
    assert "energy current guessed to be qflux" in said


def test_pickles_are_refused_with_the_way_out(tmp_path, rows):
    np.save(tmp_path / "a.npy", {"qflux": rows[:, :3], "Temperature": 1300.0}, allow_pickle=True)
    np.savez(tmp_path / "a.npz", everything=np.array({"qflux": rows}, dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(CurrentsFileError, match=rf"{name} holds a pickled Python object, .* numpy.savez"):
            read(tmp_path / name, **CONDITIONS)


def test_arrays(tmp_path, rows):
    np.save(tmp_path / "a.npy", rows)
    currents, _ = read(tmp_path / "a.npy", {"energy": [0, 1, 2]}, **CONDITIONS)
    np.testing.assert_array_equal(currents["energy"][0], rows[:, :3].T)
    np.save(tmp_path / "b.npy", rows[None, None])
    with pytest.raises(CurrentsFileError, match=r"b.npy holds an array \(1, 1, 50, 7\) of float64; accepted are real"):
        read(tmp_path / "b.npy", **CONDITIONS)
    (tmp_path / "c.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:200])
    with pytest.raises(CurrentsFileError, match="c.npy can't be read as a file of numpy"):
        read(tmp_path / "c.npy", **CONDITIONS)


def test_saved_currents_come_back(tmp_path, rows):
    saved = Currents(rows[:, :3].T[None], ["energy"], **CONDITIONS)
    saved.save(tmp_path / "saved.npz")
    currents, said = read(tmp_path / "saved.npz")
    assert said == "" and currents.volume == 1000.0
    np.testing.assert_array_equal(currents.values, saved.values)
    with pytest.raises(ValueError, match="holds currents with all that belongs to them; volume can't be given"):
        read(tmp_path / "saved.npz", volume=3.0)


def test_uploads_compressed_files_and_segments(write, rows):
    text = ("Jx Jy Jz\n" + as_text(rows[:, :3])).encode()
    path = write("table.dat", text)
    plain, _ = read(path, **CONDITIONS)
    packed, _ = read(write("table.gz", gzip.compress(text)), **CONDITIONS)
    upload, _ = read({"name": "table.dat", "content": memoryview(text)}, **CONDITIONS)
    with path.open("rb") as handle:
        opened, _ = read(handle, **CONDITIONS)
    for other in (packed, upload, opened):
        np.testing.assert_array_equal(other.values, plain.values)
    shorter = write("other.dat", b"\n".join(text.splitlines()[:41]) + b"\n")
    both, said = read([path, shorter], **CONDITIONS)
    assert both.values.shape == (1, 2, 3, 40) and "files of 50, 40 rows, cut to the shortest" in said
    with pytest.raises(CurrentsFileError, match="cut.gz can't be unpacked"):
        read(write("cut.gz", gzip.compress(text)[:100]), **CONDITIONS)


def test_what_is_no_file_of_currents(write, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file .*nowhere.dat; accepted is the path"):
        read(tmp_path / "nowhere.dat")
    with pytest.raises(CurrentsFileError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(CurrentsFileError, match="picture.png is no text; accepted are logs and fix ave/time files"):
        read(write("picture.png", b"\x89PNG\0\0\0"))
    with pytest.raises(TypeError, match="source is of type int"):
        read(3)
    with pytest.raises(ValueError, match="source is empty"):
        read([])
    with pytest.raises(ValueError, match="source has the keys .'file'.; an uploaded file needs 'name' and 'content'"):
        read({"file": b""})


def test_the_survey_says_what_is_guessed_and_what_is_missing(write, rows):
    said = str(open_currents(write("NaCl.dat", "Temp Jx Jy Jz vx vy vz\n" + as_text(rows))))
    assert said.startswith("NaCl.dat: table of columns, 50 rows of Temp, Jx")
    assert "energy current read from J (guessed)" in said and said.endswith("not said: timestep_fs, volume")


# -- trajectories ------------------------------------------------------------------------------------------------------


@pytest.fixture
def salt():
    rng = np.random.default_rng(5)
    atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True) * (2, 2, 2)
    frames = []
    for k in range(6):
        frame = atoms.copy()
        frame.positions += 0.1 * rng.normal(size=frame.positions.shape)
        frame.set_velocities(0.02 * rng.normal(size=frame.positions.shape))
        frame.info["time_ps"] = 0.01 * k
        frames.append(frame)
    return frames


def test_currents_of_a_trajectory(salt, tmp_path):
    currents, _ = read(salt)
    assert currents.names == ("Na", "Cl") and currents.kinds == ("number", "number")
    sodium = salt[0].numbers == 11
    per_ps = 1000 * units.fs
    np.testing.assert_allclose(
        currents["Na"][0, :, 2], salt[2].get_velocities()[sodium].sum(axis=0) * per_ps, rtol=1e-12
    )
    assert currents.timestep_fs == pytest.approx(10.0) and currents.volume == pytest.approx(salt[0].get_volume())
    kinetic = np.mean([frame.get_kinetic_energy() for frame in salt])
    assert currents.temperature_K == pytest.approx(2 * kinetic / (3 * len(salt[0]) - 3) / units.kB)
    import ase.io

    ase.io.write(tmp_path / "run.extxyz", salt)
    charge, _ = read(tmp_path / "run.extxyz", currents=["charge", "mass"], charges={"Na": 1.0, "Cl": -1.0})
    np.testing.assert_allclose(
        charge["charge"], currents["Na"] - currents["Cl"], atol=1e-4
    )  # eight decimals of momenta
    momenta = np.array([frame.get_momenta().sum(axis=0) for frame in salt]).T * per_ps
    np.testing.assert_allclose(charge["mass"][0], momenta, atol=1e-3)


def test_records_of_a_simulation_and_its_frames_give_the_same_currents(salt):
    from matterscape.dynamics import Simulation, VelocityVerlet
    from matterscape.potentials import LennardJones

    pairs = (("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl"))
    potential = LennardJones({pair: (0.01, 2.6) for pair in pairs}, 5.0)
    charges = {"Na": 1.0, "Cl": -1.0}
    start = salt[0]
    simulation = Simulation(
        start, potential, integrator=VelocityVerlet(), timestep_fs=2.0, charges=[charges[s] for s in start.symbols]
    )
    for name in ("heat_flux", "charge_flux", "species_flux", "temperature_K", "positions", "velocities"):
        simulation.record(name, every=3)
    simulation.run(30)
    with pytest.warns(MomentumWarning):  # the frames were drawn with the momentum of a bath
        recorded = Currents.from_records(
            simulation, {"energy": "heat_flux", "charge": "charge_flux", "Na": "species_flux:Na"}
        )
    frames = []
    for positions, velocities in zip(simulation.records["positions"].values, simulation.records["velocities"].values):
        frame = start.copy()
        frame.positions = positions
        frame.set_velocities(velocities)
        frames.append(frame)
    read_back, _ = read(
        frames, currents=["energy", "charge", "Na"], potential=potential, charges=charges, timestep_fs=2.0, every=3
    )
    assert recorded.names == read_back.names and recorded.kinds == read_back.kinds
    assert recorded.timestep_fs == read_back.timestep_fs == 6.0
    scale = np.abs(recorded.values).max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(recorded.values / scale, read_back.values / scale, atol=1e-12)
    assert recorded.volume == pytest.approx(read_back.volume)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda frames: frames[:1], "trajectory has 1 frames; accepted are at least two"),
        (lambda frames: [*frames, Atoms("H")], "frame 6 has other atoms than frame 0"),
        (lambda frames: [frames[0], Atoms(frames[0].symbols, cell=frames[0].cell)], "frame 1 has no velocities"),
        (lambda frames: [frames[0], *frames[1:3], *frames[4:]], "frame 3 is 0.02 ps after the one before"),
    ],
)
def test_broken_trajectories(salt, spoil, sentence):
    with pytest.raises(CurrentsFileError, match=sentence):
        read(spoil(salt))


def test_bad_arguments_for_trajectories(salt):
    with pytest.raises(ValueError, match="potential is None; the current of energy needs"):
        read(salt, currents=["energy"])
    with pytest.raises(ValueError, match="charges are None and the frames hold none"):
        read(salt, currents=["charge"])
    with pytest.raises(ValueError, match="current is 'K'; accepted are energy, charge, mass, Cl, Na"):
        read(salt, currents=["K"])
    with pytest.raises(ValueError, match="charges have None for Cl"):
        read(salt, charges={"Na": 1.0})
    salt[1].set_cell(salt[1].cell * 1.01)
    with pytest.raises(CurrentsFileError, match="frame 1 has another cell"):
        read(salt)


# -- unit styles -------------------------------------------------------------------------------------------------------


def test_unit_styles_against_known_numbers():
    assert STYLES["metal"].current("energy") == 1.0
    # J m/s in eV Å/ps, and the elementary charge in C
    assert STYLES["si"].current("energy") == pytest.approx(1 / 1.602176634e-19 * 1e-2, rel=1e-8)
    assert STYLES["si"].current("charge") == pytest.approx(1 / 1.602176634e-19 * 1e-2, rel=1e-8)
    assert STYLES["cgs"].charge == pytest.approx(1 / 4.80320471e-10, rel=1e-7)
    assert STYLES["ase"].current("number") == pytest.approx(1 / 0.010180505, rel=1e-6)
    assert STYLES["atomic"].current("number") == pytest.approx(21876.91, rel=1e-6)
    assert STYLES["atomic"].volume == pytest.approx(0.14818471, rel=1e-7)
    amu_square_angstrom_per_square_ps = 1.0364269566e-4  # in eV
    for name in ("si", "cgs", "ase", "atomic"):  # whose energy is mass times velocity squared
        style = STYLES[name]
        kinetic = style.mass * (style.length / style.time) ** 2 * amu_square_angstrom_per_square_ps
        assert kinetic == pytest.approx(style.energy, rel=1e-7), name

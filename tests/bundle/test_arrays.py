"""Arrays on disk: whole, mapped, gone when nobody holds them, and never in memory at once."""

from __future__ import annotations

import errno
import os
import tracemalloc
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from auditor import arrays
from auditor.arrays import OnDisk, copied, load, release, save
from auditor.bundle import RunFolder
from auditor.errors import IncompleteRun

MIB = 1 << 20


def is_mapped(array: np.ndarray) -> bool:
    base: object = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


def test_rows_come_back_where_they_were_put_in_any_order_and_the_rest_is_zero(tmp_path: Path) -> None:
    with OnDisk((3, 4, 2), tmp_path) as place:
        place.put(10, np.array([[5, 6]], np.float64))
        place.put(0, np.arange(8, dtype=np.float32).reshape(2, 4).T.reshape(4, 2))
        found = place.mapped()
    expected = np.zeros((12, 2), np.float32)
    expected[:4] = np.arange(8).reshape(2, 4).T.reshape(4, 2)
    expected[10] = 5, 6
    np.testing.assert_array_equal(found, expected.reshape(3, 4, 2))
    assert is_mapped(found)
    assert not found.flags.writeable


def test_the_file_has_no_name_even_while_it_is_written(tmp_path: Path) -> None:
    with OnDisk((4, 2), tmp_path) as place:
        assert list(tmp_path.iterdir()) == []
        found = place.mapped()
    with pytest.raises(KeyError), OnDisk((4, 2), tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    assert found.shape == (4, 2)


def test_no_rows_are_an_empty_array(tmp_path: Path) -> None:
    with OnDisk((3, 0, 2), tmp_path) as place:
        assert place.mapped().shape == (3, 0, 2)


def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    with OnDisk((4, 2), tmp_path) as place:
        place._file.close()

        class Full:
            def seek(self, _: int) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            def close(self) -> None:
                pass

        place._file = Full()  # type: ignore[assignment]
        with pytest.raises(IncompleteRun, match="disk full.*--resume"):
            place.put(0, np.ones((1, 2)))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what is resident")
def test_what_was_looked_at_does_not_stay(tmp_path: Path) -> None:
    with OnDisk((64, MIB // 4, 1), tmp_path) as place:
        for row in range(64):
            place.put(row * MIB // 4, np.full((MIB // 4, 1), row, np.float32))
        found = place.mapped()
    before = resident()
    assert [float(copied(found[row])[0, 0]) for row in range(64)] == list(range(64))
    assert resident() - before < 16 * MIB
    found.sum()
    assert resident() - before > 48 * MIB
    release(found[3])
    assert resident() - before < 16 * MIB


def test_a_file_is_what_the_library_reads_and_the_note_is_in_it(tmp_path: Path) -> None:
    tensors = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "flags": np.array([True, False, True]),
        "scalar": np.asarray(2.5),
        "none": np.zeros((0, 3), np.int64),
        "half": np.arange(5, dtype=np.float16),
    }
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        save(file, tensors, 'a "note" ü')
    ours, note = load(path)
    library = safetensors.numpy.load_file(path)
    assert note == 'a "note" ü'
    for name, expected in tensors.items():
        for found in (ours[name], library[name]):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype
    assert is_mapped(ours["a"])


def test_equal_arrays_have_equal_bytes() -> None:
    files = [BytesIO(), BytesIO()]
    x = np.arange(4.0)
    save(files[0], {"x": x, "y": x[:2]}, "n")  # type: ignore[arg-type]
    save(files[1], {"y": x[:2].copy(), "x": x}, "n")  # type: ignore[arg-type]
    assert files[0].getvalue() == files[1].getvalue()


def test_storing_and_opening_a_unit_takes_no_memory_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "PIECE", MIB)
    folder = RunFolder.create(tmp_path / "run")

    def compute() -> arrays.Tensors:
        with OnDisk((32, MIB // 4, 1), folder.units.path) as place:
            for row in range(32):
                place.put(row * MIB // 4, np.full((MIB // 4, 1), row, np.float32))
            return {"x": place.mapped()}

    tracemalloc.start()
    first = folder.units.once("u", {}, compute)
    again = folder.units.once("u", {}, lambda: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB
    assert is_mapped(first["x"])
    assert is_mapped(again["x"])
    assert float(again["x"][31, 0, 0]) == 31
    assert len(list(folder.units.path.iterdir())) == 1

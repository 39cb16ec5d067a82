"""Arrays of other libraries as NumPy arrays, without a copy where their layout allows it."""

import sys
import warnings

import numpy as np

#: The rounding of single precision, relative to a value.
_ROUNDING = 2.0**-24
#: The fewest digits of the differences between rows that are left without a warning.
_DIGITS = 3
#: The most rows from which the offset and the spread of an array are taken.
_SAMPLE = 4096

#: The devices of DLPack whose memory a process reads as its own: CPU, and memory that CUDA or ROCm pinned.
_HOST = {1, 3, 11}


def array(given, what="array"):
    """Returns an array of another library as a NumPy array that shares its memory where that is possible.

    An Arrow array of lists of numbers, all of one length, becomes a matrix; an object with ``__dlpack__``, or
    with Arrow's C interface, what it holds. Anything else is returned as it is: NumPy and pandas, numbers,
    lists.
    """
    _unmasked(given, what)
    library = type(given).__module__.partition(".")[0]
    if library in ("numpy", "pandas", "builtins"):
        return given
    if library == "pyarrow":
        return _of_arrow(given, what)
    if hasattr(given, "__dlpack__"):
        return _of_dlpack(given, what)
    if hasattr(given, "__arrow_c_array__") or hasattr(given, "__arrow_c_stream__"):
        return _of_interface(given, what)
    return given


def real(given, what="array"):
    """Returns an array as it is, unless NumPy would drop a part of it when it is converted to floats."""
    kind = type(given).__name__
    _unmasked(given, what)
    if getattr(getattr(given, "dtype", None), "kind", "") == "c":
        raise ValueError(f"{what}: expected real numbers, got complex ones")
    if hasattr(given, "toarray") and hasattr(given, "nnz"):
        raise TypeError(f"{what}: expected a dense array, got a sparse {kind}; give its `toarray()`")
    return given


def _unmasked(given, what):
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise ValueError(f"{what}: some values are masked; fill them, or leave out their rows")


def matrix(given, what="array", dtype=np.float32):
    """Returns an array as :func:`array` does, contiguous in row-major order and of this type.

    There is no copy if it is so already.
    """
    found = real(array(given, what), what)
    try:
        return np.ascontiguousarray(found, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: expected numbers, got {type(given).__name__}: {error}") from error


def warn_of_offset(rows, what):
    """Warns if single precision keeps fewer than three digits of how rows (n, d) differ.

    A value is stored to 2^-24 of its size, so rows that lie far from zero and near each other differ by few
    digits, and bringing them to length one rounds them as coarsely.
    """
    rows = np.asarray(rows)
    sample = rows[:: -(-len(rows) // _SAMPLE) or 1].astype(np.float64)
    mean = sample.mean(axis=0)
    spread, offset = np.linalg.norm(sample.std(axis=0)), np.linalg.norm(mean)
    if not 0 < spread < np.inf or offset * _ROUNDING < spread * 10.0**-_DIGITS:
        return
    digits = max(0.0, np.log10(spread / (offset * _ROUNDING)))
    warnings.warn(
        f"{what}: the mean of the rows is {offset / spread:.2g} times as long as their spread, so single "
        f"precision keeps {digits:.1f} digits of how they differ; subtract the mean of the training rows in "
        "double precision before `fit` and `transform`",
        UserWarning,
        stacklevel=4,
    )


def arrays(given, what="view"):
    """Returns an array as :func:`array` does, or a list of arrays, each of them so."""
    if isinstance(given, (list, tuple)) and any(_is_matrix(own) for own in given):
        return [array(own, f"{what} {at}") for at, own in enumerate(given)]
    return array(given, f"{what} 0")


def _is_matrix(given):
    return getattr(given, "ndim", 0) == 2 or type(given).__module__.partition(".")[0] == "pyarrow"


def _of_dlpack(given, what):
    try:
        device = int(given.__dlpack_device__()[0])
        if device in _HOST:
            return np.from_dlpack(given)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        help = "; use `tensor.detach()`" if getattr(given, "requires_grad", False) else ""
        kind = getattr(given, "dtype", "unknown")
        raise ValueError(
            f"{what}: cannot read this {type(given).__name__} of type {kind}: {error}{help}"
        ) from error
    raise ValueError(
        f"{what}: expected an array in main memory, got one on the device {device} of DLPack; move it to the "
        "CPU first, as `tensor.cpu()` does"
    )


def _of_interface(given, what):
    try:
        import pyarrow
    except ImportError as error:
        raise ValueError(
            f"{what}: a {type(given).__name__} is read with pyarrow: pip install pyarrow"
        ) from error
    if hasattr(given, "__arrow_c_stream__"):
        try:
            return _of_arrow(pyarrow.chunked_array(given), what)
        except (pyarrow.ArrowException, TypeError) as error:
            raise ValueError(f"{what}: expected a column of lists of numbers: {error}") from error
    return _of_arrow(pyarrow.array(given), what)


def _of_arrow(column, what):
    """Returns an Arrow array: of numbers as (n,), of lists of numbers of one length as (n, d)."""
    pyarrow = sys.modules["pyarrow"]
    if isinstance(column, pyarrow.Tensor):
        return column.to_numpy()
    if isinstance(column, (pyarrow.Table, pyarrow.RecordBatch)):
        return np.asarray(column)
    if isinstance(column, pyarrow.ChunkedArray):
        # one chunk is used as it is; several are copied into one
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if not isinstance(column, pyarrow.Array):
        raise ValueError(f"{what}: expected an Arrow array of lists of numbers, got {column!r}")
    if isinstance(column, pyarrow.ExtensionArray):
        column = column.storage
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise ValueError(f"{what}: row {row} is null; leave out such rows")
    if not isinstance(column, (pyarrow.FixedSizeListArray, pyarrow.ListArray, pyarrow.LargeListArray)):
        return _numbers(column, column.type, what)
    if isinstance(column, pyarrow.FixedSizeListArray):
        width = column.type.list_size
    else:
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        width = int(lengths[0]) if len(lengths) else 0
        if (lengths != width).any():
            row = int((lengths != width).argmax())
            raise ValueError(f"{what}: row {row} has {lengths[row]} numbers, the first one has {width}")
    # the values of these rows alone: `values` would be those of the array that this one is a slice of
    return _numbers(column.flatten(), column.type, what).reshape(len(column), width)


def _numbers(values, kind, what):
    """Returns an Arrow array of numbers without nulls."""
    types = sys.modules["pyarrow"].types
    if not (types.is_integer(values.type) or types.is_floating(values.type)):
        raise ValueError(f"{what}: expected an Arrow array of lists of numbers, got {kind}")
    if values.null_count:
        raise ValueError(f"{what}: a number of the lists is null; leave out such rows")
    return values.to_numpy(zero_copy_only=False)

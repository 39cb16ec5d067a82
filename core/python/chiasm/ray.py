"""Aligners that are fitted on a Ray Data set, on any number of machines.

>>> import chiasm.ray
>>> dataset = ray.data.read_parquet("s3://bucket/pairs")
>>> aligner = chiasm.ray.fit(dataset, ["image", "text"], "cca")
>>> open("images.onnx", "wb").write(aligner.to_onnx(0))

Every block of the data set becomes a :class:`chiasm.Moments` where it lies, and only these are sent and
merged. The fit equals that in one process up to rounding errors, whatever the number of machines and blocks.
A block whose worker is lost is summed again, so that every row counts once.
"""

import pickle

from ._moments import Moments

__all__ = ["fit", "moments"]


def fit(dataset, columns, aligner="cca", *, curve=None, seed=0, **parameters):
    """Fits an aligner on columns of a data set.

    Parameters
    ----------
    dataset : ray.data.Dataset
        Rows with the vectors of all views: lists of numbers, or tensors.
    columns : list of str
        The column of each view, in their order.
    aligner : {"cca", "ridge", "procrustes"} or Aligner
        As in :meth:`chiasm.Moments.fit`. Procrustes reads the data set twice, as in
        :meth:`chiasm.Moments.second_pass`.
    curve, seed
        As in :class:`chiasm.Moments`.
    **parameters
        Parameters of the aligner.

    Returns
    -------
    aligner : CCA, Ridge or Procrustes
        The fitted aligner.
    """
    if curve is None:
        curve = parameters.get("curve", getattr(aligner, "curve", None))
    sums = moments(dataset, columns, curve=curve, seed=seed)
    if getattr(aligner, "_plugin", aligner) != "procrustes":
        return sums.fit(aligner, **parameters)
    begun = sums.second_pass(aligner, **parameters)
    return _merged(dataset, columns, begun, again, {"begun": pickle.dumps(begun)}).fit()


def moments(dataset, columns, *, curve=None, seed=0):
    """Returns the :class:`chiasm.Moments` of columns of a data set, as :func:`fit` sums them."""
    try:
        import ray.data
    except ImportError as error:
        raise ImportError('chiasm.ray needs Ray Data: pip install "ray[data]"') from error
    if not isinstance(dataset, ray.data.Dataset):
        raise TypeError(f"expected a ray.data.Dataset, got {type(dataset).__name__}")
    whole = Moments(curve=curve, seed=seed)
    return _merged(dataset, columns, whole, summed, {"curve": curve, "seed": seed})


def _merged(dataset, columns, whole, function, arguments):
    """Adds to `whole` what a function makes of every batch."""
    columns = list(columns)
    sums = dataset.select_columns(columns).map_batches(
        function, batch_format="pyarrow", batch_size=None, fn_kwargs={"columns": columns, **arguments}
    )
    for row in sums.iter_rows():
        whole.merge(pickle.loads(row["sums"]))
    return whole


def summed(batch, columns, curve, seed):
    """Returns the moments of a batch (Arrow), pickled, as a batch of one row."""
    return _row(Moments(curve=curve, seed=seed), batch, columns)


def again(batch, columns, begun):
    """Returns a second pass over a batch (Arrow), pickled, as a batch of one row; `begun` has no rows."""
    return _row(pickle.loads(begun), batch, columns)


def _row(own, batch, columns):
    import pyarrow

    if batch.num_rows:
        own.update([batch.column(name) for name in columns])
    return pyarrow.table({"sums": [pickle.dumps(own)]})

"""Fitting a recipe."""

from . import _core
from ._progress import listener
from ._run import Run


def fit(recipe, output, *, skip_bad=False, force=False, device="cpu", threads=0, progress=True, **overrides):
    """Fits a recipe, as ``chiasm fit RECIPE -o OUTPUT`` does.

    Parameters
    ----------
    recipe : path
        The recipe, a TOML file.
    output : path
        The folder of the run. If it holds an up-to-date run of the same recipe, nothing is fitted.
    skip_bad : bool
        Skip items that cannot be read instead of raising an error.
    force : bool
        Fit although the run is up to date.
    device : {"cpu", "cuda", "auto"}
        Where graphs run.
    threads : int
        Number of threads; 0 means all cores.
    progress : bool or object
        True shows progress; an object with the methods ``begin(stage, total)``, ``advance(done)``,
        ``status(text)``, ``end()`` and ``note(message)`` receives it.
    **overrides
        Settings of the recipe to replace: a name with ``__`` for the dot, for example ``align__plugin="cca"``
        or ``seed=1``; values as in Python.

    Returns
    -------
    Run
        The opened run. Its attribute ``report`` is a dict: ``fresh`` (False if the run was up to date),
        ``failed_checks``, ``unknown_checks`` and ``seconds`` (stage and duration).

    Raises
    ------
    ChiasmError
        If the recipe, a model or the data are invalid, or the engine or a plugin fails.
    KeyboardInterrupt
        After Ctrl-C, once the fit has stopped at its next step. The next fit goes on where this one stopped.
    """
    settings = [f"{name.replace('__', '.')}={_toml(value)}" for name, value in overrides.items()]
    report = _core.fit(
        recipe,
        output,
        settings,
        {"skip_bad": skip_bad, "force": force, "device": device, "threads": threads},
        listener(progress),
    )
    run = Run(report.pop("run"), device=device, threads=threads)
    run.report = report
    return run


def _toml(value):
    """Returns a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(own)}" for name, own in value.items()) + "}"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'

"""The registry of laws by name, to which users can add their own."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

import numpy as np

from fit.law.derived import allocation, by_k, tokens_to_converge
from fit.law.errors import FitError
from fit.law.law import Array, Bend, Law, RowSource, Term

# The logarithm of lr* is linear in its exponents, so that any start leads to the best.
# Exponents of an lr where a fit starts: 16 starts for LR_ND, and for LR_NDB.
_QUARTERS, _HALVES = np.array([0.0, 0.25, 0.5, 0.75]), np.array([0.0, 0.5])
# Exponents of SAEs lie between .05 and .4; the grid is wider so that other tables have a good starting point too.
EXPONENTS = np.geomspace(0.02, 3.0, 24)
SIGNED = np.concatenate([-EXPONENTS[::-2], EXPONENTS[::2]])
# ρ is about β times the exponent of T(N), .6 (Gao et al. 2024): .1 to .5 in the tables tried.
RHOS = np.array([-0.6, -0.3, -0.1, 0.0, 0.1, 0.2, 0.35, 0.6, 1.0])
LAWS: dict[str, Law] = {}
# Where the laws of the user come from, as `mylaws.py:LAW`.
ORIGINS: dict[str, str] = {}


def register(law: Law) -> Law:
    """Register a law for `fit_law` and `saescale fit --law`. Raises ValueError if its name is taken."""
    if law.name in LAWS:
        raise ValueError(
            f"There is a law {law.name} already ({LAWS[law.name].formula}): choose another name."
        )
    LAWS[law.name] = law
    return law


def named(law: str | Law) -> Law:
    """The law with the given name, or a user's own as `mylaws.py:LAW` or `package.module:LAW`. FitError if unknown."""
    if isinstance(law, Law):
        return law
    if ":" in law:
        return _imported(law)
    if law not in LAWS:
        raise FitError(
            f"There is no law {law!r}: choose among {', '.join(LAWS)}, or name your own as mylaws.py:LAW."
        )
    return LAWS[law]


def _imported(path: str) -> Law:
    name, _, attribute = path.rpartition(":")
    module = _module(name, path)
    if not hasattr(module, attribute):
        laws = [key for key, value in vars(module).items() if isinstance(value, Law)]
        has = f"its laws are {', '.join(laws)}" if laws else "it has no law"
        kind = "file" if name.endswith(".py") else "module"
        raise FitError(f"{path} is not there: the {kind} {name} has no {attribute or 'empty name'}; {has}.")
    law = getattr(module, attribute)
    if not isinstance(law, Law):
        raise FitError(f"{path} is a {type(law).__name__}, not a fit.law.Law: give the name of a law.")
    if LAWS.setdefault(law.name, law) is not law:
        raise FitError(
            f"{path} has the name {law.name} of another law ({LAWS[law.name].formula}): choose another name."
        )
    ORIGINS[law.name] = path
    return law


def _module(name: str, path: str) -> ModuleType:
    """The file or module of a user's law. Raises FitError with the reason for which it cannot be imported."""
    file = Path(name) if name.endswith(".py") else None
    if file is not None and not file.is_file():
        raise FitError(f"{path} cannot be imported: there is no file {name}.")
    if file is None and not all(part.isidentifier() for part in name.split(".")):
        raise FitError(f"{path!r} does not name a law: {name!r} is neither a file mylaws.py nor a module.")
    try:
        return importlib.import_module(name) if file is None else _of_file(file)
    except ModuleNotFoundError as error:
        if (
            file is not None
            or error.name is None
            or not (name == error.name or name.startswith(f"{error.name}."))
        ):
            raise FitError(
                f"{path} cannot be imported: {name} needs {error.name}, which is not installed."
            ) from error
        here = Path(*name.split(".")).with_suffix(".py")
        add = f" {here} is in this folder: name it as {here}:LAW." if here.is_file() else ""
        raise FitError(
            f"{path} cannot be imported: there is no module {error.name} on PYTHONPATH.{add}"
        ) from error
    except SyntaxError as error:
        raise FitError(
            f"{path} cannot be imported: {error.filename}, line {error.lineno}, is not Python: {error.msg}."
        ) from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise FitError(
            f"{path} cannot be imported: {last.filename}, line {last.lineno}, raises {type(error).__name__}: {error}."
        ) from error


def _of_file(file: Path) -> ModuleType:
    """The module in a file, executed once, so that two laws of one file are of one module."""
    name = f"saescale_laws:{file.resolve()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _power(coefficient: str, exponent: str, sign: int = -1, slopes: Array = EXPONENTS, at: int = 0) -> Term:
    """coefficient·x^(sign·exponent) of input number `at`."""
    return Term((coefficient, exponent), lambda *u: (1.0, sign * u[at]), (slopes,))


FLOOR = Term(("E",), lambda *u: (1.0,))


def _floored(symbol: str, column: str, companions: tuple[str, ...] = ()) -> Law:
    name = f"L_{symbol}"
    return Law(
        name=name,
        formula=f"L({symbol}) = E + A·{symbol}^−α",
        latex=rf"L({symbol}) = E + A\,{symbol}^{{-\alpha}}",
        inputs=(column,),
        params=("E", "A", "alpha"),
        terms=(_power("A", "alpha"), FLOOR),
        logs=frozenset({"E", "A"}),
        floor=1,
        distinct={column: 3},
        alternatives=(f"{name}_pure", f"{name}_broken"),
        companions=companions,
    )


def _pure(symbol: str, column: str) -> Law:
    return Law(
        name=f"L_{symbol}_pure",
        formula=f"L({symbol}) = A·{symbol}^−α",
        latex=rf"L({symbol}) = A\,{symbol}^{{-\alpha}}",
        inputs=(column,),
        params=("A", "alpha"),
        terms=(_power("A", "alpha"),),
        logs=frozenset({"A"}),
        distinct={column: 2},
        alternatives=(f"L_{symbol}", f"L_{symbol}_broken"),
    )


def _broken(symbol: str, column: str) -> Law:
    """The broken law has no E: over the range of a sweep a floor looks like a break, and rows cannot separate them."""
    bend = Bend(("delta", f"{symbol}0", "w"))
    shape = rf"\left(1 + ({symbol}/{symbol}_0)^{{1/w}}\right)^{{-\delta w}}"
    return Law(
        name=f"L_{symbol}_broken",
        formula=f"L({symbol}) = A·{symbol}^−α·(1 + ({symbol}/{symbol}0)^(1/w))^(−δ·w)",
        latex=rf"L({symbol}) = A\,{symbol}^{{-\alpha}} " + shape,
        inputs=(column,),
        params=("A", "alpha", "delta", f"{symbol}0", "w"),
        terms=(Term(("A", "alpha"), lambda u: (1.0, -u), (EXPONENTS[::3],), bend),),
        logs=frozenset({"A", f"{symbol}0", "w"}),
        distinct={column: 5},
        alternatives=(f"L_{symbol}", f"L_{symbol}_pure"),
    )


L_N = register(_floored("N", "n_latents"))
L_C = register(_floored("C", "flops", companions=("N_C", "D_C", "LR_C")))
L_N_PURE, L_C_PURE = register(_pure("N", "n_latents")), register(_pure("C", "flops"))
L_N_BROKEN, L_C_BROKEN = register(_broken("N", "n_latents")), register(_broken("C", "flops"))

# Gao et al. 2024, §3.1.4. With centred inputs, its slopes in n and k are those at the centre of the table.
_JOINT = Term(
    ("alpha", "beta_k", "beta_n", "gamma"),
    lambda n, *others: (1.0, others[-1], n, others[-1] * n),
    (np.array([-0.6, -0.3, -0.1, 0.1]), -np.geomspace(0.03, 1.0, 8), np.array([-0.06, -0.02, 0.02])),
)
_JOINT_FLOOR = Term(("zeta", "eta"), lambda *inputs: (1.0, inputs[-1]), (np.array([-0.5, -0.15, 0.0]),))


L_NK = register(
    Law(
        name="L_NK",
        formula="L(N, K) = exp(α + β_k ln K + β_n ln N + γ ln K ln N) + exp(ζ + η ln K)",
        latex=r"L(N, K) = e^{\alpha + \beta_k \ln K + \beta_n \ln N + \gamma \ln K \ln N} + e^{\zeta + \eta \ln K}",
        inputs=("n_latents", "k"),
        params=("alpha", "beta_k", "beta_n", "gamma", "zeta", "eta"),
        terms=(_JOINT, _JOINT_FLOOR),
        floor=1,
        distinct={"n_latents": 3, "k": 2},
        alternatives=("L_NK_pure",),
        derived=by_k,
    )
)
L_NK_PURE = register(
    Law(
        name="L_NK_pure",
        formula="L(N, K) = exp(α + β_k ln K + β_n ln N + γ ln K ln N)",
        latex=r"L(N, K) = e^{\alpha + \beta_k \ln K + \beta_n \ln N + \gamma \ln K \ln N}",
        inputs=("n_latents", "k"),
        params=("alpha", "beta_k", "beta_n", "gamma"),
        terms=(_JOINT,),
        distinct={"n_latents": 2, "k": 2},
        alternatives=("L_NK",),
        derived=by_k,
    )
)


# Hoffmann et al. 2022, §3.3.
L_ND = register(
    Law(
        name="L_ND",
        formula="L(N, D) = E + A·N^−α + B·D^−β",
        latex=r"L(N, D) = E + A\,N^{-\alpha} + B\,D^{-\beta}",
        inputs=("n_latents", "tokens"),
        params=("E", "A", "alpha", "B", "beta"),
        terms=(_power("A", "alpha", at=0), _power("B", "beta", at=1), FLOOR),
        logs=frozenset({"E", "A", "B"}),
        floor=2,
        distinct={"n_latents": 3, "tokens": 3},
        alternatives=("L_ND_cross",),
        derived=allocation,
    )
)
# L_ND has T(N) fall with N where the floor dominates, while measured tokens to convergence grow as N^0.6: ρ says how
# much further a larger N is from its floor at the same D.
L_ND_CROSS = register(
    Law(
        name="L_ND_cross",
        formula="L(N, D) = E + A·N^−α + B·N^ρ·D^−β",
        latex=r"L(N, D) = E + A\,N^{-\alpha} + B\,N^{\rho} D^{-\beta}",
        inputs=("n_latents", "tokens"),
        params=("E", "A", "alpha", "B", "rho", "beta"),
        terms=(
            _power("A", "alpha", at=0),
            Term(("B", "rho", "beta"), lambda n, d: (1.0, n, -d), (RHOS, EXPONENTS[::2])),
            FLOOR,
        ),
        logs=frozenset({"E", "A", "B"}),
        floor=2,
        distinct={"n_latents": 3, "tokens": 3},
        alternatives=("L_ND",),
        derived=tokens_to_converge,
    )
)
# The paper's L(N, K) plus a term for too few tokens. k is the last input because `_JOINT` expects it there.
L_NDK = register(
    Law(
        name="L_NDK",
        formula="L(N, D, K) = exp(α + β_k ln K + β_n ln N + γ ln K ln N) + B·D^−δ + exp(ζ + η ln K)",
        latex=r"L(N, D, K) = e^{\alpha + \beta_k \ln K + \beta_n \ln N + \gamma \ln K \ln N}"
        r" + B\,D^{-\delta} + e^{\zeta + \eta \ln K}",
        inputs=("n_latents", "tokens", "k"),
        params=("alpha", "beta_k", "beta_n", "gamma", "B", "delta", "zeta", "eta"),
        terms=(_JOINT, _power("B", "delta", slopes=EXPONENTS[::2], at=1), _JOINT_FLOOR),
        logs=frozenset({"B"}),
        floor=2,
        distinct={"n_latents": 3, "tokens": 3, "k": 2},
        derived=by_k,
    )
)


def _one_power(
    name: str,
    left: str,
    right: str,
    column: str,
    response: str,
    params: tuple[str, str],
    sign: int,
    rows: RowSource,
) -> Law:
    """Register a power law whose response is not a loss. left, right: the two sides of its formula."""
    return register(
        Law(
            name=name,
            formula=f"{left} = {right}",
            latex=_latex(f"{left} = {right}"),
            inputs=(column,),
            params=params,
            terms=(_power(*params, sign, SIGNED),),
            logs=frozenset(params[:1]),
            distinct={column: 2},
            response=response,
            rows=rows,
        )
    )


def _latex(formula: str) -> str:
    for plain, tex in {
        "−α": r"{-\alpha}",
        "^a": "^{a}",
        "*": r"^\ast",
        "T0": "T_0",
        "·": r"\,",
        "ρ": r"\rho",
    }.items():
        formula = formula.replace(plain, tex)
    return formula.replace("lr", r"\eta")


T_N = _one_power("T_N", "T(n)", "T0·n^g", "n_latents", "tokens", ("T0", "g"), 1, RowSource.TOKENS)
LR_N = _one_power("LR_N", "lr*(n)", "A·n^−α", "n_latents", "lr", ("A", "alpha"), -1, RowSource.LR)
N_C = _one_power("N_C", "N*(C)", "A·C^a", "flops", "n_latents", ("A", "a"), 1, RowSource.OPTIMUM)
D_C = _one_power("D_C", "D*(C)", "A·C^a", "flops", "tokens", ("A", "a"), 1, RowSource.OPTIMUM)
LR_C = _one_power("LR_C", "lr*(C)", "A·C^−α", "flops", "lr", ("A", "alpha"), -1, RowSource.OPTIMUM)
# An lr that is transferred to a larger n and D, and with LR_NDB to another batch size.
LR_ND = register(
    Law(
        name="LR_ND",
        formula="lr*(n, D) = A·n^−α·D^−β",
        latex=r"\eta^\ast(n, D) = A\,n^{-\alpha} D^{-\beta}",
        inputs=("n_latents", "tokens"),
        params=("A", "alpha", "beta"),
        terms=(Term(("A", "alpha", "beta"), lambda n, d: (1.0, -n, -d), (_QUARTERS, _QUARTERS)),),
        logs=frozenset({"A"}),
        distinct={"n_latents": 2, "tokens": 2},
        response="lr",
        rows=RowSource.LR_BUDGETS,
    )
)
LR_NDB = register(
    Law(
        name="LR_NDB",
        formula="lr*(n, D, B) = A·n^−α·D^−β·B^γ",
        latex=r"\eta^\ast(n, D, B) = A\,n^{-\alpha} D^{-\beta} B^{\gamma}",
        inputs=("n_latents", "tokens", "batch_tokens"),
        params=("A", "alpha", "beta", "gamma"),
        terms=(
            Term(
                ("A", "alpha", "beta", "gamma"),
                lambda n, d, b: (1.0, -n, -d, b),
                (_HALVES, _QUARTERS, _HALVES),
            ),
        ),
        logs=frozenset({"A"}),
        distinct={"n_latents": 2, "tokens": 2, "batch_tokens": 2},
        response="lr",
        rows=RowSource.LR_BUDGETS,
    )
)
# Both regimes share the slope. The optimal lr for L(C) is ρ times that for L(N), about 4 (Gao et al. 2024, A.3).
LR_NR = register(
    Law(
        name="LR_NR",
        formula="lr*(n, r) = A·n^−α·ρ^r, r = 1 for L(C), 0 for L(N)",
        latex=r"\eta^\ast(n, r) = A\,n^{-\alpha} \rho^r",
        inputs=("n_latents", "compute"),
        params=("A", "alpha", "rho"),
        terms=(Term(("A", "alpha", "rho"), lambda n, r: (1.0, -n, r), (SIGNED, np.array([0.0, 1.4]))),),
        logs=frozenset({"A", "rho"}),
        distinct={"n_latents": 2, "compute": 2},
        response="lr",
        as_is=frozenset({"compute"}),
        rows=RowSource.NONE,
    )
)

"""What a fit returns: one frozen result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from fit.law import points as law_points
from fit.law.caution import Caution, Kind, read_cautions, texts
from fit.law.checks.disagreement import Disagreement
from fit.law.checks.held_out import HeldOut
from fit.law.checks.lack_of_fit import LackOfFit
from fit.law.checks.model_comparison import Candidate
from fit.law.errors import FitError
from fit.law.estimate import Estimate
from fit.law.functionals import DerivedQuantities
from fit.law.intervals.bootstrap import Bootstrap
from fit.law.intervals.choose import Intervals
from fit.law.intervals.recipe import Recipe
from fit.law.json_values import finite, plain, record
from fit.law.law import Array, Derived, Law, RowSource
from fit.law.laws import LAWS
from fit.law.points import CurvePoint, Point, PointRun
from fit.law.rows import Rows, make_inputs, make_rows
from fit.law.selection import (
    RowsUsed,
    Selection,
    rows_used_from_dict,
    selection_from_dict,
    selection_to_dict,
)

# A fit made again from its file agrees with it in ln L to about 1e-12; by more than this it is another fit.
SAME_FIT = 1e-6


@dataclass(frozen=True)
class Param:
    """A parameter and its 95 % interval: an end is None where that side is unbounded, value None if it is undefined.

    se: the delta method's standard error, of the logarithm for a positive parameter such as E or A; None if unknown.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    se: float | None = None


@dataclass(frozen=True)
class DerivedQuantity(Param):
    """A quantity that follows from the parameters: its name, and the inputs that it is taken at, as {"k": 32}."""

    name: str = ""
    at: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """L(C) refitted with one analysis choice changed.

    flops: the convention of C. method: the way to the frontier. min_flops: C of the first point. reason: why there is
    no fit, else None.
    """

    choice: str
    flops: str
    method: str
    min_flops: float | None
    points: int
    E: float | None
    alpha: float | None
    reason: str | None = None


@dataclass(frozen=True)
class IsoflopVertex:
    """N*, L*, D* and lr* at one budget C; curvature: d² ln L/d(ln n)² there; sizes: how many n made the parabola."""

    flops: float
    n_latents: float
    nmse: float
    tokens: float | None
    lr: float | None
    curvature: float
    sizes: float


@dataclass(frozen=True)
class IsoflopVertices:
    """The budgets with a vertex, and "C=…: why" for every other one."""

    points: tuple[IsoflopVertex, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class PaperExponent:
    """The exponents g of T(n) that a paper reports, the lowest and the highest."""

    g: tuple[float, float]
    source: str


@dataclass(frozen=True)
class Extra:
    """sensitivity: the fit itself first, then one choice changed at a time. skipped: "N_C (isoflop): why" for each law
    of the compute optimum that could not be fitted. note: a sentence for the reader.
    """

    sensitivity: tuple[Choice, ...] = ()
    isoflop: IsoflopVertices | None = None
    skipped: tuple[str, ...] = ()
    paper: PaperExponent | None = None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Extra":
        isoflop, paper = content.get("isoflop"), content.get("paper")
        return record(
            cls,
            content,
            sensitivity=tuple(record(Choice, row) for row in content.get("sensitivity") or ()),
            isoflop=isoflop
            and record(
                IsoflopVertices,
                isoflop,
                points=tuple(record(IsoflopVertex, point) for point in isoflop["points"]),
            ),
            paper=paper and record(PaperExponent, paper),
        )


@dataclass(frozen=True)
class Starts:
    """How many starting points were tried, and how many of them reached the best optimum."""

    tried: int
    agree: int


@dataclass(frozen=True)
class FitResult:
    """One fitted law. Every L is a normalized MSE; intervals are 95 %.

    Parameters
    ----------
    latex : the formula. response, inputs : the column that was fitted, and those it was fitted to. loss_name : the
        name that the table gives the loss, where it was mapped.
    loss : the objective in words. objective : its value, Σ w ρ(r), for least squares on logs ½ Σ w r² with
        r = ln L_law − ln L. rms_log : root mean square of that r.
    derived : what follows from the parameters, as the exponent at each k, by label.
    held_out : how well the smaller scales predicted the largest ones, or None.
    comparison : this law and its alternatives, the best first.
    lack_of_fit : the residuals against the noise of the rows, and whether these refute the law; None in older files.
    disagreements : E and α that another law of the same rows puts elsewhere, see `regimes.agreement`.
    condition, correlations : how well the rows distinguish the parameters, see `diagnostics`.
    points : the fitted rows. curve : the law on a log grid up to one octave beyond the rows.
    extra : further results about these rows.
    regime : "converged" (L at convergence, at any compute) or "compute" (best L for a compute, converged or not);
        never compare numbers of the two.
    group : what the rows have in common. flops : convention of C. selection : how the rows were chosen, None for
        arrays.
    recipe : how it was fitted, from which a result that was read back predicts; None in files of earlier versions.
    rows_used : what became of every row of the table, None for arrays.
    origin : of a law of the user, where it comes from, as `mylaws.py:LAW`.
    """

    law: str
    formula: str
    rows: int
    loss: str
    objective: float | None
    rms_log: float | None
    params: Mapping[str, Param]
    starts: Starts | None
    held_out: HeldOut | None
    cautions: tuple[Caution, ...]
    points: tuple[Point, ...]
    curve: tuple[CurvePoint, ...]
    inputs: tuple[str, ...]
    latex: str = ""
    response: str = "nmse"
    loss_name: str | None = None
    derived: Mapping[str, DerivedQuantity] = field(default_factory=dict)
    comparison: tuple[Candidate, ...] = ()
    condition: float | None = None
    correlations: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    extra: Extra = Extra()
    regime: str | None = None
    group: Mapping[str, Any] = field(default_factory=dict)
    flops: str | None = None
    selection: Selection | None = None
    lack_of_fit: LackOfFit | None = None
    disagreements: tuple[Disagreement, ...] = ()
    recipe: Recipe | None = None
    rows_used: RowsUsed | None = None
    origin: str | None = None
    estimate: Estimate | None = field(default=None, repr=False, compare=False)
    intervals: Intervals | None = field(default=None, repr=False, compare=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The sentences of the cautions."""
        return texts(self.cautions)

    @property
    def refutation(self) -> str | None:
        """The sentence, with its size, that says that the rows refute the law; None where they do not."""
        return next((each.text for each in self.cautions if each.kind is Kind.REFUTED), None)

    @property
    def response_name(self) -> str:
        """The response for a reader: NMSE, or the name that the table gives its loss."""
        if self.response != "nmse":
            return self.response
        return self.loss_name or "NMSE"

    @property
    def loss_text(self) -> str:
        """What was minimised, as `least squares on log NMSE`."""
        return self.loss.replace("nmse", self.response_name)

    @property
    def outliers(self) -> tuple[Point, ...]:
        """The fitted rows that no law of this kind would have by chance."""
        return tuple(point for point in self.points if point.outlier)

    def with_cautions(self, before: Sequence[Caution] = (), after: Sequence[Caution] = ()) -> "FitResult":
        """The result with further cautions, before or after its own."""
        return replace(self, cautions=(*before, *self.cautions, *after))

    def with_runs(self, columns: Mapping[str, Any]) -> "FitResult":
        """The result with the runs of its points: fields of `PointRun`, (rows,) each, None if unknown."""
        names = law_points.run_fields(self.inputs, self.response)
        known = {name: plain(list(columns[name])) for name in names if columns.get(name) is not None}
        points = tuple(
            replace(point, run=PointRun(**{name: values[point.row] for name, values in known.items()}))
            for point in self.points
        )
        return replace(self, points=points)

    def predict(self, x: Any = None, interval: str | None = None, **inputs: Any) -> Any:
        """The response at given inputs, as `predict(n_latents=2**20)`; with an interval (value, low, high), (m,) each.

        Parameters
        ----------
        x : the inputs as for `fit_law`, a mapping of names to (m,) or an array (m, inputs), instead of keywords.
        interval : "law", where the law's own value lies with 95 %, or "measurement", where a new run would lie.
        inputs : each input of the law, a number or (m,); single numbers are repeated.

        Raises
        ------
        FitError
            For an input that is missing, not finite or not positive, and for a result that was read back from a file
            without what its intervals need, see `recipe`.
        """
        estimate, intervals = self._data
        given = inputs if x is None else x
        if isinstance(given, Mapping):
            values = (np.atleast_1d(np.asarray(v, dtype=float)) for v in given.values())
            given = dict(zip(given, np.broadcast_arrays(*values), strict=True))
        at = make_inputs(estimate.law, given)
        value = np.exp(estimate.log_loss(at))
        if interval is None:
            return value
        ends = {"law": intervals.law, "measurement": intervals.measurement}
        if interval not in ends:
            raise ValueError(f"There is no interval {interval!r}: choose law or measurement.")
        return value, *ends[interval](at)

    def number(self, quantity: Derived) -> Param:
        """A quantity that follows from the parameters, with its interval."""
        estimate, intervals = self._data
        return derived_quantities(estimate, intervals, {"": quantity})[""]

    def resampled(self, quantity: Callable[[Mapping[str, Array]], Array]) -> Array | None:
        """A function of the public parameters over the refits of a bootstrap, (R,); None for other intervals."""
        _, intervals = self._data
        return intervals.resampled(quantity) if isinstance(intervals, Bootstrap) else None

    @property
    def fitted_rows(self) -> Rows:
        """The rows that the law was fitted to. FitError if a file it was read back from does not have all of them."""
        recipe, listed = self.recipe, self.points
        if recipe is None:
            raise FitError(
                f"The file that {self.law} was read from does not say how it was fitted (an older saescale wrote it): "
                "fit the table again with `saescale fit` to predict."
            )
        if len(listed) < self.rows:
            raise FitError(
                f"The file that {self.law} was read from lists {len(listed):,} of its {self.rows:,} rows, and its "
                "intervals need all: fit fewer rows, or predict in Python from what `fit_table` returns."
            )
        x = {name: [point.inputs[name] for point in listed] for name in self.inputs}
        loss, weights = [point.response for point in listed], [point.weight for point in listed]
        rows = make_rows(self._known_law(), x, loss, weights)
        if recipe.cluster is not None:  # numbers of runs already, in the order in which they are drawn
            rows = replace(rows, cluster=np.array(recipe.cluster, dtype=np.intp))
        return rows

    @cached_property
    def _data(self) -> tuple[Estimate, Intervals]:
        """The estimate and its intervals; of a result that was read back, made again from its points by its recipe."""
        if self.estimate is not None and self.intervals is not None:
            return self.estimate, self.intervals
        recipe, listed = self.recipe, self.points
        law, rows = self._known_law(), self.fitted_rows
        assert recipe is not None
        again = recipe.fitted(law, rows)
        at, ends = again.at, again.ends
        gap = np.abs(at.log_fitted() - np.log([point.predicted for point in listed]))
        if gap.max() > SAME_FIT:
            raise FitError(
                f"{self.law} fitted again to the rows of its file differs from the file by {gap.max():.2g} in ln "
                f"{self.response}: another saescale fitted it. Fit the table again with `saescale fit`."
            )
        return at, ends

    @property
    def silent_because(self) -> str | None:
        """Why a result that was read back cannot predict: its law is not known here; None where it is."""
        if self.estimate is not None:
            return None
        try:
            self._known_law()
        except FitError as error:
            return str(error)
        return None

    def _known_law(self) -> Law:
        # Not `named`: the name comes from a file, which must not choose a module to import.
        law = LAWS.get(self.law)
        if law is None:
            origin = self.origin or "mylaws.py:LAW"
            raise FitError(
                f"{self.law} ({self.formula}) is a law of your own, and its function is not in the file: name where it "
                f"is, as --law {origin}, or import it in Python."
            )
        if law.formula != self.formula:
            raise FitError(
                f"{self.law} is {self.formula} in the file it was read from and {law.formula} here: fit the table "
                "again."
            )
        return law

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: None for what is unknown, unbounded or undefined."""
        points = law_points.points_to_dicts(self.points, self.response)
        content = {
            "law": self.law,
            "formula": self.formula,
            "rows": self.rows,
            "loss": self.loss,
            "objective": self.objective,
            "rms_log": self.rms_log,
            "params": {name: asdict(param) for name, param in self.params.items()},
            "starts": None if self.starts is None else asdict(self.starts),
            "held_out": None if self.held_out is None else self.held_out.to_dict(),
            "warnings": self.warnings,
            "points": points,
            "curve": law_points.curve_to_dicts(self.curve),
            "latex": self.latex,
            "response": self.response,
            "loss_name": self.loss_name,
            "derived": {label: asdict(quantity) for label, quantity in self.derived.items()},
            "comparison": [asdict(law) for law in self.comparison],
            "condition": self.condition,
            "correlations": self.correlations,
            "outliers": [point for point in points if point["outlier"]],
            "extra": self.extra.to_dict(),
            "regime": self.regime,
            "group": self.group,
            "flops": self.flops,
            "selection": selection_to_dict(self.selection),
            "inputs": self.inputs,
            "disagreements": [asdict(each) for each in self.disagreements],
            "lack_of_fit": None if self.lack_of_fit is None else asdict(self.lack_of_fit),
            "cautions": [asdict(caution) for caution in self.cautions],
            "recipe": None if self.recipe is None else asdict(self.recipe),
            "rows_used": None if self.rows_used is None else asdict(self.rows_used),
            "origin": self.origin,
        }
        return plain(content)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "FitResult":
        """The result of `to_dict`: it predicts as that one did, see `recipe`. FitError where a part is absent.

        Files of earlier versions lack some keys; these are filled in from the law of that name.
        """
        law = LAWS.get(content.get("law", ""))
        inputs = tuple(content.get("inputs") or (law.inputs if law else ()))
        rows = law.rows if law and law.rows else RowSource.NONE
        response = content.get("response", "nmse")
        held, starts, recipe = content.get("held_out"), content.get("starts"), content.get("recipe")
        misfit = content.get("lack_of_fit")
        return record(
            cls,
            {"loss": "", "objective": None, "rms_log": None, **content},
            inputs=inputs,
            params={name: record(Param, param) for name, param in content["params"].items()},
            starts=starts and record(Starts, starts),
            held_out=held and HeldOut.from_dict(held, inputs),
            disagreements=tuple(Disagreement.from_dict(each) for each in content.get("disagreements") or ()),
            lack_of_fit=misfit and LackOfFit.from_dict(misfit),
            cautions=read_cautions(content),
            points=law_points.points_from_dicts(
                content.get("points") or (), inputs, response, content.get("outliers") or ()
            ),
            curve=law_points.curve_from_dicts(content.get("curve") or (), inputs),
            derived={
                label: record(DerivedQuantity, {"name": label, **quantity})
                for label, quantity in (content.get("derived") or {}).items()
            },
            comparison=tuple(record(Candidate, each) for each in content.get("comparison") or ()),
            extra=Extra.from_dict(content.get("extra") or {}),
            selection=selection_from_dict(content.get("selection") or {}, rows),
            recipe=recipe and Recipe.from_dict(recipe),
            rows_used=rows_used_from_dict(content.get("rows_used")),
        )


def derived_quantities(
    at: Estimate, how: Intervals, quantities: Mapping[str, Derived]
) -> dict[str, DerivedQuantity]:
    """Each quantity that follows from the parameters, with its interval."""
    if not quantities:
        return {}
    R, listed = len(quantities), list(quantities.values())
    theta, alive = np.repeat(at.solution.theta, R, axis=0), np.repeat(at.solution.alive, R, axis=0)
    value, _, _ = DerivedQuantities(at.basis, listed).evaluate(theta, alive, np.arange(R))
    low, high = how.numbers(listed)
    with np.errstate(over="ignore"):
        ends = [
            tuple(float(np.exp(v)) if d.log else float(v) for v in part)
            for d, *part in zip(listed, value, low, high, strict=True)
        ]
    return {
        label: DerivedQuantity(
            finite(v), finite(lo), finite(hi), how.method, None, quantity.name or label, dict(quantity.at)
        )
        for (label, quantity), (v, lo, hi) in zip(quantities.items(), ends, strict=True)
    }

"""Every activation: its step's gradients equal autograd's of the loss as its paper writes it, in float64; it trains."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_core.activations import BatchTopK, JumpReLU, build
from sae_core.config import RANKED, DataKey, RunConfig, SAEConfig, TrainConfig
from sae_core.data.synthetic import Synthetic, SyntheticConfig
from sae_core.training.evaluation import set_threshold_
from sae_core.training.gradients import StepOptions, gradients_
from sae_core.training.run import Run
from sae_core.training.selection import select

D, N, K, B, DENOMINATOR, COEF = 9, 40, 5, 24, 3.0, 0.05
SOURCE = Synthetic(SyntheticConfig(d_model=16, n_features=300, l0=3.0, held_out=512, tail=False))
LOSSES = {
    "topk": {},
    "multi": {"multi_topk": True},
    "matryoshka": {"matryoshka": 3},
    "batchtopk": {"activation": "batchtopk"},
    "batchtopk matryoshka": {"activation": "batchtopk", "matryoshka": 4},
    "relu": {"activation": "relu"},
    "jumprelu": {"activation": "jumprelu", "init_threshold": 0.2, "bandwidth": 0.3},
    "gated": {"activation": "gated"},
}


def config(name: str, n: int = N, k: int = K) -> SAEConfig:
    ranked = LOSSES[name].get("activation", "topk") in RANKED
    more = {"k": k} if ranked else {"sparsity_coef": COEF}
    return SAEConfig(n_latents=n, encoder_bias=True, k_aux=8, **more, **LOSSES[name])


def sae_and_batch(name: str):
    g = torch.Generator().manual_seed(0)
    sae = build(config(name), D).double()
    sae.init_(torch.randn(D, generator=g, dtype=torch.float64), seed=1)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
    return sae, torch.randn(B, D, generator=g, dtype=torch.float64)


def ranked_loss(sae, x):
    """Dense, with autograd: Σ_p w_p mean‖x − x̂_p‖²/denominator, every mask written out."""
    pre = (x - sae.b_pre) @ sae.W_enc.T + sae.b_enc
    of = sae.config
    if of.activation == "batchtopk":
        top = pre.flatten().topk(B * K)
        z = torch.zeros(B * N, dtype=x.dtype).scatter(0, top.indices, top.values.relu()).view(B, N)
    else:
        z = _top(pre, K)
    parts = [(1.0, z)]
    if of.multi_topk:
        parts.append((1 / 8, _top(pre, 4 * K)))
    if of.matryoshka > 1:
        ends = [of.n_latents // 2**j for j in range(of.matryoshka)]
        parts = [(1 / len(ends), z * (torch.arange(N) < end)) for end in ends]
    return sum(w * _nmse(sae, x, z) for w, z in parts)


def _top(pre, k):
    top = pre.topk(k, dim=1)
    return torch.zeros_like(pre).scatter(1, top.indices, top.values.relu())


def _nmse(sae, x, z, frozen=False):
    W, b = (sae.W_dec.detach(), sae.b_pre.detach()) if frozen else (sae.W_dec, sae.b_pre)
    return (x - z @ W - b).pow(2).sum(1).mean() / DENOMINATOR


def penalised_loss(sae, x):
    pi = (x - sae.b_pre) @ sae.W_enc.T
    if sae.config.activation == "relu":
        z = (pi + sae.b_enc).relu()
        return _nmse(sae, x, z) + COEF * z.sum(1).mean()
    gate = (pi + sae.b_enc).relu()
    z = (gate > 0) * (sae.r_mag.exp() * pi + sae.b_mag).relu()
    return _nmse(sae, x, z) + _nmse(sae, x, gate, frozen=True) + COEF * gate.sum(1).mean()


def gradients_of(loss, sae):
    sae.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in sae.named_parameters()}


def ours(sae, x, dead=None, **options):
    gradients_(sae, x, StepOptions(DENOMINATOR, **options), dead)
    return {name: p.grad.clone() for name, p in sae.named_parameters()}


def assert_equal(a, b, rtol=1e-9, atol=1e-12):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.allclose(a[name], b[name], rtol=rtol, atol=atol), name


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("relu", "jumprelu", "gated")])
def test_ranked_gradients_against_autograd(name):
    sae, x = sae_and_batch(name)
    assert_equal(ours(sae, x), gradients_of(ranked_loss(sae, x), sae))


@pytest.mark.parametrize("name", ["relu", "gated"])
def test_penalised_gradients_against_autograd(name):
    sae, x = sae_and_batch(name)
    assert_equal(ours(sae, x), gradients_of(penalised_loss(sae, x), sae))


def test_jumprelu_hands_its_threshold_the_papers_gradient():
    """∂L/∂θ_i = Σ_b (∂L/∂z · (−θ/ε) K + λ/B · (−1/ε) K), and ∂log θ = θ ∂θ; all else as z = pre·1[pre > θ]."""
    sae, x = sae_and_batch("jumprelu")
    found = ours(sae, x)
    pre = (x - sae.b_pre) @ sae.W_enc.T + sae.b_enc
    theta, width = sae.log_threshold.exp().detach(), sae.config.bandwidth
    z = pre * (pre > theta)
    z.retain_grad()
    sae.zero_grad()
    _nmse(sae, x, z).backward()
    window = ((pre - theta).abs() < width / 2).double()
    d_theta = (z.grad * (-theta / width) * window).sum(0) - COEF / B * window.sum(0) / width
    assert window.any() and not window.all()
    assert torch.allclose(found["log_threshold"], theta * d_theta, rtol=1e-9)
    for name in ("W_enc", "W_dec", "b_enc", "b_pre"):
        assert torch.allclose(found[name], getattr(sae, name).grad, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("rows", [1, 7, 24])
@pytest.mark.parametrize("name", LOSSES)
def test_micro_batches_give_the_gradients_of_the_whole_batch(name, rows):
    sae, x = sae_and_batch(name)
    dead = {"dead": torch.tensor([3, 7, 21, 39]), "k_aux": 2, "auxk_coef": 0.25}
    more = dead if sae.config.activation in RANKED else {}
    assert_equal(ours(sae, x, rows=rows, **more), ours(sae, x, **more))


@pytest.mark.parametrize("name", LOSSES)
def test_bf16_products_stay_near(name):
    """bfloat16 has 8 bits of mantissa, 0.4 % an element. A latent whose rank flips changes a whole row, of few."""
    sae, x = sae_and_batch(name)
    sae, x = sae.float(), x.float()
    exact, near = ours(sae, x), ours(sae, x, precision="bf16")
    for name in ("W_enc", "W_dec"):
        assert near[name].dtype == torch.float32 and not torch.equal(near[name], exact[name])
        off = (near[name] - exact[name]).norm(dim=1) / exact[name].norm(dim=1).clamp(min=1e-6)
        assert off.median() < 0.02 and (off < 0.05).float().mean() > 0.7, name


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**31), st.integers(1, 9))
def test_batch_topk_takes_the_largest_of_the_batch(k, spread, seed, rows):
    """Against one sort of all B·n values, with rows of very different sizes, so that one may hold nearly all."""
    g = torch.Generator().manual_seed(seed)
    sae = build(SAEConfig(n_latents=N, k=k, activation="batchtopk"), D).double().init_(torch.zeros(D), 0)
    x = (
        torch.randn(9, D, generator=g, dtype=torch.float64)
        * torch.logspace(0, spread / 4, 9, dtype=torch.float64)[:, None]
    )
    values, indices = select(sae, x, rows, sae.W_enc)
    pre = x @ sae.W_enc.T
    top = pre.flatten().topk(9 * k)
    z = torch.zeros(9 * N, dtype=torch.float64).scatter(0, top.indices, top.values.relu()).view(9, N)
    spread_out = torch.zeros(9, N + 1, dtype=torch.float64).scatter(1, indices % (N + 1), values)[:, :N]
    assert torch.allclose(spread_out, z)


def test_batch_topk_is_a_threshold_at_inference():
    sae, x = sae_and_batch("batchtopk")
    assert isinstance(sae, BatchTopK)
    set_threshold_(sae, x)
    assert sae.threshold == pytest.approx(exact_threshold(sae.state_dict(), x, K))
    values, indices = sae.encode(x)
    assert indices is None and (values > 0).sum() == B * K - 1  # the smallest itself is not above θ
    with torch.no_grad():
        sae.b_enc.fill_(-100.0)  # nothing is active
    set_threshold_(sae, x)
    assert sae.threshold == 0 and not sae.encode(x)[0].any()


def exact_threshold(weights, x, k):
    """The smallest of the B·k largest pre-activations of a batch, by one sort, from tensors by name."""
    pre = (x - weights["b_pre"]) @ weights["W_enc"].T + weights["b_enc"]
    return float(pre.flatten().sort(descending=True).values[len(x) * k - 1])


def test_both_thresholds_of_batch_topk_are_those_of_their_weights_from_the_first_evaluation_on():
    run, training = Run(run_config("batchtopk"), torch.zeros(16), SOURCE.denominator), SOURCE.sample(2048)
    while run.tokens < 4096:
        run.step(SOURCE.rows(run.tokens, 64, 0))
        if run.tokens < run.next_evaluation():
            continue
        row, saved = run.evaluate(SOURCE.held_out(), training), run.weights()
        averaged = {name.removeprefix("ema."): t for name, t in saved.items() if name.startswith("ema.")}
        for which, weights in (("live", saved), ("ema", averaged)):
            exact = exact_threshold(weights, training, 3)
            assert row[f"threshold_{which}"] == pytest.approx(exact, rel=1e-5)
            assert float(weights["threshold"]) == pytest.approx(exact, rel=1e-5)
            assert row[f"l0_{which}"] == pytest.approx(3, rel=0.06), row["tokens"]
        assert [row[name] for name in ("nmse", "l0", "threshold")] == [
            row[f"{name}_{row['weights']}"] for name in ("nmse", "l0", "threshold")
        ]
    assert abs(row["threshold_ema"] / row["threshold_live"] - 1) > 0.05  # one θ for both would be wrong


def test_a_checkpoint_without_a_threshold_of_the_average_is_read():
    """As written before the averaged weights had one: then they were evaluated with the live θ."""
    first = advance(Run(run_config("batchtopk"), torch.zeros(16), SOURCE.denominator), 512)
    saved = {name: t.clone() for name, t in first.tensors().items() if name != "ema.threshold"}
    second = Run(run_config("batchtopk"), torch.zeros(16), SOURCE.denominator)
    second.restore(saved, json.loads(json.dumps(first.meta())))
    assert second.weights()["ema.threshold"] == saved["sae.threshold"] > 0


@pytest.mark.parametrize("name", ["relu", "jumprelu", "gated"])
def test_l0_is_of_the_weights_that_the_loss_is_of(name):
    """Where the averaged weights are better, their L0 is reported, which is another than that of the live ones."""
    run = advance(Run(run_config(name, lr=0.05, ema=0.9), torch.zeros(16), SOURCE.denominator), 4096)
    by_ema = [row for row in run.curve if row["weights"] == "ema"]
    assert by_ema and any(abs(row["l0_ema"] / row["l0_live"] - 1) > 0.01 for row in by_ema)
    for row in run.curve:
        assert (row["nmse"], row["l0"]) == (row[f"nmse_{row['weights']}"], row[f"l0_{row['weights']}"])
    row = run.curve[-1]
    with run.ema.applied():
        z, _ = run.sae.encode(SOURCE.held_out())
    assert row["l0_ema"] == pytest.approx(float((z > 0).sum(1).float().mean()))


def test_jumprelu_encodes_what_is_above_its_thresholds():
    sae, x = sae_and_batch("jumprelu")
    assert isinstance(sae, JumpReLU)
    z, _ = sae.encode(x)
    pre = sae.pre_activations(x)
    assert torch.equal(z > 0, pre > sae.log_threshold.exp()) and torch.equal(z[z > 0], pre[z > 0])


def run_config(name: str, lr: float = 3e-3, ema: float = 0.999) -> RunConfig:
    train = TrainConfig(
        lr=lr, batch_tokens=64, max_tokens=4096, ema=ema, first_eval_tokens=256, evals_per_doubling=2
    )
    return RunConfig(DataKey(SOURCE.fingerprint, 16), config(name, 48, 3), train).resolved()


def advance(run: Run, until: int) -> Run:
    while run.tokens < until:
        run.step(SOURCE.rows(run.tokens, 64, 0))
        if run.tokens >= run.next_evaluation():
            run.evaluate(SOURCE.held_out(), SOURCE.sample(256))
    return run


@pytest.mark.parametrize("name", LOSSES)
def test_it_trains_and_resumes_to_the_last_bit(name):
    def fresh():
        return Run(run_config(name), torch.zeros(16), SOURCE.denominator)

    whole, first = advance(fresh(), 4096), advance(fresh(), 1088)
    assert whole.curve[-1]["nmse"] < 0.9 * whole.curve[0]["nmse"]
    penalised = name in ("relu", "jumprelu", "gated")
    assert (whole.curve[-1]["penalty"] is not None) == penalised
    saved = {key: t.clone() for key, t in first.tensors().items()}
    second = advance(fresh().restore(saved, json.loads(json.dumps(first.meta()))), 4096)
    for key, tensor in whole.tensors().items():
        assert torch.equal(tensor, second.tensors()[key]), key
    assert [row["nmse"] for row in second.curve] == [row["nmse"] for row in whole.curve]

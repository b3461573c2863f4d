"""World Models' equations against brute force, and V, M and C against the paper."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sensorium import registry
from sensorium.core.errors import Usage
from sensorium.core.run import run
from sensorium.core.seeding import Seeds, normal, row_seeds
from sensorium.core.stats import rank_correlation
from sensorium.nets import descent
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.behaviour import HeldActions, RandomNetworks
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.model import MDNRNN, ConvVAE, LatentPolicy, Linear, WorldModelPolicy, fit_initial_weights, pixels
from tests import foreign  # noqa: F401  registers environments
from tests.conftest import trained


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# equations


def test_divergence_equals_torchs():
    mu, log_variance = random(5, 3), random(5, 3, seed=1)
    ours = eq.divergence(mu, log_variance)
    normal = torch.distributions.Normal(mu, torch.exp(log_variance / 2))
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1))


def test_the_kl_tolerance_applies_to_the_whole_vector():
    assert eq.floored(torch.tensor([3.0, 16.0, 20.0]), 0.5, 32).tolist() == [16, 16, 20]


def test_reconstruction_sums_over_pixels():
    assert eq.reconstruction(torch.ones(2, 3, 64, 64), torch.full((2, 3, 64, 64), 0.5)).tolist() == [3072, 3072]


def test_latents_have_their_mean_and_deviation():
    z = eq.latent(torch.full((20000, 1), 2.0), torch.full((20000, 1), math.log(9.0)), random(20000, 1))
    assert float(z.mean()) == pytest.approx(2, abs=0.1)
    assert float(z.std()) == pytest.approx(3, rel=0.03)


def test_outputs_of_a_dimension_are_contiguous():
    """Output 15 d + 5 p + k of M's head: dimension d, then logits, means, log deviations, then the mixture."""
    memory = MDNRNN(2, 1, 3).requires_grad_(False)
    memory.head.zero_()
    memory.head_bias.copy_(torch.arange(2 * 15))
    found = memory.predict(torch.zeros(4, 1, 3))
    assert found.mean.shape == (4, 1, 2, 5)
    assert found.logit[3, 0].tolist() == [[0, 1, 2, 3, 4], [15, 16, 17, 18, 19]]
    assert found.mean[3, 0].tolist() == [[5, 6, 7, 8, 9], [20, 21, 22, 23, 24]]
    assert found.log_sd[3, 0].tolist() == [[10, 11, 12, 13, 14], [25, 26, 27, 28, 29]]
    torch.testing.assert_close(found.log_weight[0, 0, 1], torch.log_softmax(torch.arange(15.0, 20.0), 0))


def test_mixture_density_integrates_to_one():
    log_weight, mean, log_sd = torch.log_softmax(random(1, 5), -1), random(1, 5, seed=1), 0.3 * random(1, 5, seed=2)
    z = torch.linspace(-15, 15, 60001, dtype=torch.float64)[:, None]
    parts = [part.double().expand(60001, 1, 5) for part in (log_weight, mean, log_sd)]
    density = eq.mixture_log_likelihood(z, *parts).exp()
    assert float(torch.trapezoid(density[:, 0], z[:, 0])) == pytest.approx(1, abs=1e-6)


def test_mixture_likelihood_by_brute_force():
    z, output = random(4, 3), random(4, 3 * 15, seed=1)
    logit, mean, log_sd = eq.mixture_parameters(output.view(4, 3, 15))
    ours = eq.mixture_log_likelihood(z, torch.log_softmax(logit, -1), mean, log_sd)
    for row in range(4):
        for d in range(3):
            part = output[row, 15 * d : 15 * d + 15].double().numpy()
            weight = np.exp(part[:5]) / np.exp(part[:5]).sum()
            density = sum(
                weight[k] / (math.sqrt(2 * math.pi) * math.exp(part[10 + k])) * math.exp(-0.5 * ((float(z[row, d]) - part[5 + k]) / math.exp(part[10 + k])) ** 2)
                for k in range(5)
            )  # fmt: skip
            assert float(ours[row, d]) == pytest.approx(math.log(density), abs=1e-4)


def test_mixture_samples_by_brute_force():
    """A loop over numbers in NumPy: cumulative weights, then a search."""
    logit, mean, log_sd = (2 * random(50, 3, 5, seed=seed) for seed in (1, 2, 3))
    choice, noise = torch.rand(50, 3, generator=torch.Generator().manual_seed(4)), random(50, 3, seed=5)
    ours = eq.mixture_sample(logit, mean, log_sd, 1.3, choice, noise)
    for row in range(50):
        for d in range(3):
            weight = np.exp(logit[row, d].double().numpy() / 1.3)
            k = int(np.searchsorted(np.cumsum(weight) / weight.sum(), float(choice[row, d]), side="right"))
            expected = float(mean[row, d, k]) + math.exp(float(log_sd[row, d, k])) * math.sqrt(1.3) * float(noise[row, d])
            assert float(ours[row, d]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_temperature_acts_on_logits_and_on_the_variance():
    log_weight = torch.log(torch.tensor([[0.2, 0.8]]))
    hot = eq.cooled(log_weight, 2.0)
    expected = np.sqrt([0.2, 0.8]) / np.sqrt([0.2, 0.8]).sum()
    np.testing.assert_allclose(hot[0].numpy(), expected, rtol=1e-5)
    assert float(eq.cooled(log_weight, 0.01)[0, 1]) == pytest.approx(1)
    n, temperature = 40000, 1.69
    mean, log_sd = torch.tensor([[-3.0, 3.0]]).expand(n, 1, 2), torch.log(torch.tensor([[0.5, 0.25]])).expand(n, 1, 2)
    choice = torch.rand(n, 1, generator=torch.Generator().manual_seed(3))
    z = eq.mixture_sample(log_weight.expand(n, 1, 2), mean, log_sd, temperature, choice, random(n, 1, seed=4))[:, 0]
    share = 0.8 ** (1 / temperature) / (0.8 ** (1 / temperature) + 0.2 ** (1 / temperature))
    assert float((z > 0).float().mean()) == pytest.approx(share, abs=0.01)
    assert float(z[z > 0].std()) == pytest.approx(0.25 * 1.3, rel=0.03)
    assert float(z[z < 0].std()) == pytest.approx(0.5 * 1.3, rel=0.03)


def test_component_sampling_including_both_ends():
    log_weight = torch.log(torch.full((1, 5), 0.2))
    mean, log_sd = torch.arange(5.0)[None], torch.zeros(1, 5)
    for u, component in ((0.0, 0), (0.19, 0), (0.21, 1), (0.5, 2), (0.7, 3), (0.999999, 4)):
        assert float(eq.mixture_sample(log_weight, mean, log_sd, 1.0, torch.tensor([u]), torch.zeros(1))) == component


def test_restarts_have_weight_ten():
    logit = torch.tensor([0.0, 0.0])
    assert eq.restart_cost(logit, torch.tensor([0.0, 1.0]), 10.0).tolist() == pytest.approx([math.log(2), 10 * math.log(2)])


def test_the_dream_ends_above_probability_one_half():
    assert eq.ends(torch.tensor([-0.1, 0.0, 0.1])).tolist() == [False, False, True]


def test_gas_and_brake():
    assert eq.car_action(torch.tensor([[-0.5, -1.0, -0.7], [0.5, 0.5, 0.7]])).tolist() == [[-0.5, 0, 0], [0.5, 0.75, pytest.approx(0.7)]]


# model


def test_initial_weights_fitted_to_frames():
    """The first layer gets the standardised frames, and a latent vector of zeros is decoded to their mean colour."""
    frames = torch.randint(200, 256, (6, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames[..., 2] //= 4
    model, plain = ConvVAE(4), ConvVAE(4)
    descent.glorot(model, 3)
    plain.load_state_dict(model.state_dict())
    fit_initial_weights(model, frames)
    image = pixels(frames)
    colour = image.mean((0, 2, 3), keepdim=True)
    standard = (image - colour) / (image - colour).square().mean().sqrt()
    torch.testing.assert_close(model.encoder[0](image), plain.encoder[0](standard), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.decode(torch.zeros(1, 4)), colour.expand(1, 3, 64, 64), rtol=1e-4, atol=1e-4)


def test_parameter_counts_equal_the_papers():
    def size(model: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in model.parameters())

    assert (size(ConvVAE(32)), size(ConvVAE(64))) == (4_348_547, 4_446_915)
    assert (size(MDNRNN(32, 3, 256)), size(MDNRNN(64, 1, 512, restart=True))) == (422_368, 1_678_785)
    assert [Linear(features).layout.size for features in ("z", "z-hidden", "zh")] == [99, 1443, 867]  # type: ignore[arg-type]
    assert Linear("zch", 64, 512, 1, bias=False, car=False).layout.size == 1088


def test_v_equals_the_papers_layers():
    """The same parameters in torch's layers."""
    model = ConvVAE(32)
    descent.glorot(model, 3)
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x = image
    for layer in model.encoder:
        x = torch.relu(layer(x))
    assert x.shape == (2, 256, 2, 2)
    mu, log_variance = model.encode(image)
    torch.testing.assert_close(mu, model.mu(x.flatten(1)))
    torch.testing.assert_close(log_variance, model.log_variance(x.flatten(1)))
    z = random(2, 32)
    y = model.expand(z)[:, :, None, None]
    for number, layer in enumerate(model.decoder):
        y = torch.relu(layer(y)) if number < 3 else torch.sigmoid(layer(y))
    torch.testing.assert_close(model.decode(z), y, atol=1e-5, rtol=1e-4)


def test_c_by_explicit_loops():
    z, hidden, cell = random(3, 4), random(3, 5, seed=1), random(3, 5, seed=2)
    known = {"z": [z], "zh": [z, hidden], "zch": [z, cell, hidden]}
    for features, parts in known.items():
        c = Linear(features, 4, 5, 2, car=False)  # type: ignore[arg-type]
        tensors = c.layout.split(random(c.layout.size, seed=3))
        ours, x = c.act(tensors, z, hidden, cell), torch.cat(parts, 1)
        for row in range(3):
            for a in range(2):
                total = sum(float(tensors["weight"][a, i] * x[row, i]) for i in range(x.shape[1])) + float(tensors["bias"][a])
                assert float(ours[row, a]) == pytest.approx(math.tanh(total), abs=1e-5)


def a_memory(restart: bool = True, **heads: bool) -> MDNRNN:
    memory = MDNRNN(4, 1, 6, mixtures=3, restart=restart, **heads)
    with torch.no_grad():
        for number, parameter in enumerate(memory.parameters()):
            parameter.copy_(0.5 * random(*parameter.shape, seed=number))
    return memory.requires_grad_(False)


def test_dropout_keeps_the_mean():
    mask = eq.dropout_mask(torch.arange(1000) / 1000, 0.2)
    assert mask.unique().tolist() == [0.0, 1.25]
    assert float(mask.mean()) == pytest.approx(1)
    assert not mask[:200].any()
    assert eq.dropout_mask(torch.zeros(3), 0.0).tolist() == [1, 1, 1]


def test_a_mask_of_m_multiplies_z_and_the_hidden_state_as_inputs():
    memory, z, action, restart = a_memory(), random(3, 2, 4), random(3, 2, 1, seed=1), torch.zeros(3, 2)
    mask = eq.dropout_mask(torch.rand(2, 10, generator=torch.Generator().manual_seed(0)), 0.5)
    hidden = cell = torch.zeros(2, 6)
    inputs = memory.inputs(z * mask[:, :4], action, restart)
    hiddens, last = memory.sequence(inputs, torch.ones(3, 2, 1), hidden, cell, compile=False, mask=mask[:, 4:])
    for t in range(3):
        masked = memory.step(z[t] * mask[:, :4], action[t], restart[t], hidden * mask[:, 4:], cell)
        hidden, cell = memory.step(z[t], action[t], restart[t], hidden, cell, mask)
        torch.testing.assert_close((hidden, cell), masked)
        torch.testing.assert_close(hidden, hiddens[t])
    torch.testing.assert_close(cell, last)


def test_m_resets_its_memory_where_an_episode_restarts():
    memory, z, action = a_memory(), random(2, 4), random(2, 1, seed=1)
    hidden, cell = random(2, 6, seed=2), random(2, 6, seed=3)
    restart = torch.tensor([0.0, 1.0])
    after, _ = memory.step(z, action, restart, hidden, cell)
    fresh, _ = memory.step(z, action, restart, torch.zeros(2, 6), torch.zeros(2, 6))
    assert not torch.allclose(after[0], fresh[0])
    torch.testing.assert_close(after[1], fresh[1])


def test_the_first_output_is_the_restart():
    memory = a_memory(reward=True, action=True)
    hidden = random(2, 6)
    output = hidden @ memory.head + memory.head_bias
    seen = memory.predict(hidden)
    assert seen.restart is not None
    assert seen.reward is not None
    assert seen.action is not None
    torch.testing.assert_close(torch.stack([seen.restart, seen.reward, seen.action[:, 0]], 1), output[:, :3])
    torch.testing.assert_close(seen.mean[:, 0], output[:, 6:9])


def test_cs_input_is_the_hidden_state_before_the_frame():
    vision, memory = ConvVAE(4), a_memory(restart=False)
    descent.glorot(vision, 1)
    vision.requires_grad_(False)
    c = Linear("zh", 4, 6, 1, car=False)
    vector, frames = random(c.layout.size), torch.randint(0, 256, (3, 2, 64, 64, 3), dtype=torch.uint8)
    driver = WorldModelPolicy(vision, memory, c, vector)
    known = driver.begin(row_seeds(0, 2))
    hidden, cell = torch.zeros(2, 6), torch.zeros(2, 6)
    for t in range(3):
        seeds = known[0]
        action, known = driver.act(frames[t], known, t)
        mu, log_variance = vision.encode(pixels(frames[t]))
        z = eq.latent(mu, log_variance, normal(seeds, t, 4))
        torch.testing.assert_close(action, c.act(c.layout.split(vector), z, hidden, cell))
        torch.testing.assert_close(known[1], hidden)
        # in every second step another action is executed, which is M's input
        done = action if t % 2 else action + 1
        known = driver.with_action(known, done)
        hidden, cell = memory.step(z, done, torch.zeros(2), hidden, cell)


def test_a_population_equals_its_members():
    c = Linear("zch", 4, 6, 1, car=False)
    vectors, obs = random(3, c.layout.size), random(6, 16, seed=1)
    together, _ = LatentPolicy(c, vectors).take(torch.arange(3).repeat_interleave(2)).act(obs, (), 0)
    for member in range(3):
        alone, _ = LatentPolicy(c, vectors[member]).act(obs[2 * member : 2 * member + 2], (), 0)
        torch.testing.assert_close(together[2 * member : 2 * member + 2], alone)


def test_held_actions_change_where_the_tic_is_a_multiple():
    seeds, player = row_seeds(4, 200), HeldActions()
    known, actions, repeats = player.begin(seeds), [], []
    for t in range(60):
        action, known = player.act(torch.zeros(200), known, t)
        actions.append(action[:, 0])
        repeats.append(known[2])
    actions, repeats = torch.stack(actions), torch.stack(repeats)
    for t in range(1, 60):
        due = t % repeats[t - 1] == 0
        assert torch.equal(actions[t] != actions[t - 1], due)
        assert torch.equal(repeats[t][~due], repeats[t - 1][~due])
    assert set(repeats.flatten().tolist()) == set(range(1, 11))
    assert float(actions.mean()) == pytest.approx(0, abs=0.05)


def test_holding_times_may_vary_between_episodes():
    seeds, player = row_seeds(4, 300), HeldActions(varied=10)
    known = player.begin(seeds)
    assert 1 <= float(known[3].min()) < 1.2
    assert 80 < float(known[3].max()) <= 100
    assert float(known[3].median()) == pytest.approx(10, abs=3)
    for t in range(120):
        _, known = player.act(torch.zeros(300), known, t)
        assert bool((known[2] <= known[3].ceil()).all())


def test_random_networks_are_a_bias_per_row_and_noise():
    seeds, player = row_seeds(4, 400), RandomNetworks()
    known, actions = player.begin(seeds), []
    for t in range(40):
        action, known = player.act(torch.zeros(400), known, t)
        actions.append(action)
    actions = torch.stack(actions)
    steer, gas, brake = actions.unbind(-1)
    assert float(gas.median()) == pytest.approx(0.5, abs=0.02)
    assert 0.4 < float((brake > 0).float().mean()) < 0.6
    assert float(steer.mean(0).std()) > 3 * float(steer.std(0).median() / 40**0.5)  # rows differ by more than their noise


def test_vision_of_vectors_is_the_normalised_observation(tmp_path):
    """Mean and deviation of the recorded sensors by NumPy; z = (obs - mean) / sd, with a small constant noise."""
    stages = registry.recipe("world-model.gym:Pendulum-v1").stages("tiny")
    for number, name in enumerate(("collect", "vision"), 1):
        run(stages[name], tmp_path / f"{number}-{name}", 0)
    paths = sorted((tmp_path / "1-collect").glob("shard-*.npz"))
    episodes = [np.load(path)[name] for path in paths for name in np.load(path).files if name.startswith("frames")]
    frames = np.concatenate(episodes).astype(np.float64)
    model = load_model(str(tmp_path / "2-vision"))
    np.testing.assert_allclose(model.mean, frames.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.sd, frames.std(0), rtol=1e-5)
    mu, log_variance = model.posterior(torch.from_numpy(frames[:5]).float())
    np.testing.assert_allclose(mu, (frames[:5] - frames.mean(0)) / frames.std(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(torch.exp(log_variance / 2), 0.01, rtol=1e-5)
    with pytest.raises(Usage, match="identity on vectors"):
        replace(stages["vision"], episodes=str(trained("car-racing", "collect") / "1-collect")).init(Seeds(0, "vision", 0))


def test_choices_are_one_hot_and_held():
    """Random choices are held for n steps, as other random actions; C chooses the button with its largest output."""
    seeds, player = row_seeds(4, 300), HeldActions(actions=4, discrete=True)
    memory, actions = player.begin(seeds), []
    for t in range(40):
        action, memory = player.act(torch.zeros(300, 1), memory, t)
        actions.append(action)
    chosen = torch.stack(actions)
    assert torch.equal(chosen.sum(2), torch.ones(40, 300))
    assert torch.equal(chosen.amax(2), torch.ones(40, 300))
    shares = chosen.mean((0, 1))
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.05, rtol=0)
    controller = Linear("z", latents=3, actions=4, car=False, discrete=True)
    vector = torch.randn(controller.layout.size, generator=torch.Generator().manual_seed(0))
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    blank = torch.zeros(6, 0)
    parts = controller.layout.split(vector[None])
    scores = torch.einsum("an,rn->ra", parts["weight"][0], z) + parts["bias"]
    assert torch.equal(controller.act(parts, z, blank, blank).argmax(1), scores.argmax(1))


def test_rank_correlation_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    for seed in range(5):
        a, b = np.random.default_rng(seed).integers(0, 5, (2, 9))
        assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert rank_correlation([1, 2, 3], [5, 7, 9]) == 1
    assert rank_correlation([1, 2, 3], [9, 7, 5]) == -1
    assert rank_correlation([1, 1, 1], [9, 7, 5]) == 0

"""A child process with EvoJAX's interpreter: for each line on stdin, one PGPE generation of 256 x 16 x 1,000 steps of its hard cart-pole.

python bench/evojax_generation.py KIND VECTOR.npy        KIND: zero, good; VECTOR: parameters in the authors' layout, [913]
"""

import sys
import time

KINDS = ("zero", "good")
POPULATION, EPISODES, HORIZON, SIGMA = 256, 16, 1000, 0.1


def flax_vector(params, policy):
    """The authors' 913 parameters in EvoJAX's layout: zero biases for queries and keys, and the sum of the LSTM's two biases."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    w_ih, w_hh = params[:64].reshape(32, 2), params[64:320].reshape(32, 8)
    bias, w_q, w_k = params[320:352] + params[352:384], params[384:640].reshape(32, 8), params[640:896].reshape(32, 8)
    tree = {
        "Dense_0": {"bias": np.zeros(32), "kernel": w_q.T},
        "Dense_1": {"bias": np.zeros(32), "kernel": w_k.T},
        "Dense_2": {"bias": params[912:], "kernel": params[896:912, None]},
    }
    cell = {}
    for i, gate in enumerate("ifgo"):
        part = slice(8 * i, 8 * i + 8)
        cell[f"h{gate}"] = {"bias": bias[part], "kernel": w_hh[part].T}
        cell[f"i{gate}"] = {"kernel": w_ih[part].T}
    tree["LSTMCell_0"] = cell
    leaves = jax.tree_util.tree_leaves({"params": tree})
    vector = jnp.concatenate([jnp.asarray(leaf, jnp.float32).ravel() for leaf in leaves])
    assert vector.size == policy.num_params, (vector.size, policy.num_params)
    return vector


def main(kind: str, path: str) -> None:
    """Time one generation for each line on stdin and print the seconds."""
    import jax
    import numpy as np

    if not hasattr(jax, "tree_map"):  # EvoJAX 0.2.17 was written for an older JAX
        jax.tree_map = jax.tree_util.tree_map
    from evojax.algo import PGPE
    from evojax.policy.mlp_pi import PermutationInvariantPolicy
    from evojax.sim_mgr import SimManager
    from evojax.task.cartpole import CartPoleSwingUp

    policy = PermutationInvariantPolicy(act_dim=1, hidden_dim=16)
    start = flax_vector(np.load(path), policy) if kind == "good" else None
    solver = PGPE(
        pop_size=POPULATION,
        param_size=policy.num_params,
        init_params=start,
        init_stdev=SIGMA,
        center_learning_rate=0.0,
        stdev_learning_rate=0.0,
        seed=0,
    )
    tasks = [CartPoleSwingUp(test=test, harder=True, max_steps=HORIZON) for test in (False, True)]
    world = SimManager(
        n_repeats=EPISODES,
        test_n_repeats=1,
        pop_size=POPULATION,
        n_evaluations=64,
        policy_net=policy,
        train_vec_task=tasks[0],
        valid_vec_task=tasks[1],
        seed=0,
    )
    for _ in sys.stdin:
        began = time.perf_counter()
        scores, _ = world.eval_params(params=solver.ask(), test=False)
        solver.tell(fitness=np.asarray(scores))
        print("took", time.perf_counter() - began, float(np.mean(scores)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

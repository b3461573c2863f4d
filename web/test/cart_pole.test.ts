import { describe, expect, it } from "vitest";
import { force, initial, observe, reward, type State, transition } from "../src/scenes/cart_pole";
import { feedForward, Neurons, type NeuronWeights } from "../src/scenes/neurons";
import { type SensesData, SensesScene } from "../src/scenes/senses";
import fixtures from "./fixtures.json";

const data = fixtures.senses.data as SensesData;

describe("cart-pole and its agent", () => {
  it("are those of Python over 200 steps", () => {
    const { seed, order, start, actions, states, rewards } = fixtures.senses;
    const agent = new Neurons(data.agent);
    const near = initial(seed, false);
    let state: State = { position: start[0]!, speed: start[1]!, angle: start[2]!, spin: start[3]! };
    for (const name of ["position", "speed", "angle", "spin"] as const) expect(near[name]).toBeCloseTo(state[name], 5);
    actions.forEach((expected, t) => {
      const obs = observe(state);
      const [action] = agent.act(order.map((item) => obs[item]!));
      expect(action).toBeCloseTo(expected, 4);
      state = transition(state, force(action!));
      [state.position, state.speed, state.angle, state.spin].forEach((x, i) => {
        expect(x).toBeCloseTo(states[t]![i]!, 4);
      });
      expect(reward(state)).toBeCloseTo(rewards[t]!, 4);
    });
  });

  it("hard initial states are those of Python", () => {
    fixtures.senses.hard.forEach((expected, seed) => {
      const { position, speed, angle, spin } = initial(seed, true);
      [position, speed, angle, spin].forEach((x, i) => {
        expect(x).toBeCloseTo(expected[i]!, 5);
      });
    });
  });

  it.each(fixtures.ablations)("the agent $about is that of Python", ({ weights, steps }) => {
    const agent = new Neurons(weights as NeuronWeights);
    for (const { observation, attention, action } of steps) {
      agent
        .attention(observation)
        .flat()
        .forEach((x, i) => {
          expect(x).toBeCloseTo(attention.flat()[i]!, 4);
        });
      expect(agent.act(observation)[0]).toBeCloseTo(action, 4);
    }
  });

  it("the baseline is that of Python", () => {
    for (const { observation, action } of fixtures.senses.baseline)
      expect(feedForward(data.baseline!, observation)[0]).toBeCloseTo(action, 5);
  });

  it("an order of the sensors changes nothing but which neuron has which sensor", () => {
    const [first, second] = [new Neurons(data.agent), new Neurons(data.agent)];
    for (let t = 0; t < 20; t++) {
      const obs = [0.1 * t, -1, Math.cos(t), Math.sin(t), 2];
      expect(second.act([...obs].reverse())[0]).toBeCloseTo(first.act(obs)[0]!, 10);
    }
  });
});

describe("the senses scene", () => {
  const calls: unknown[][] = [];
  const notices = { control: (...args: unknown[]) => calls.push(args), panel: () => {} };
  // from a pole that hangs, so that both agents balance it
  const easy = { ...data, world: { hard: false, horizon: 2000 } };
  const scene = (found = easy) => new SensesScene("cart-pole", found, 0, notices);
  const score = (made: SensesScene, frames: number) => {
    let last: (number | null)[] = [];
    for (let i = 0; i < frames; i++) last = (made.advance().values.score as (number | null)[][]).at(-1) ?? last;
    return last as [number, number, number];
  };

  it("a shuffle leaves the agent's score and not the baseline's", () => {
    const made = scene();
    const [, before, baseline] = score(made, 300);
    expect(before).toBeGreaterThan(0.9);
    expect(baseline).toBeGreaterThan(0.9);
    made.set("order", [1, 0, 4, 2, 3]);
    score(made, 300);
    // mean over six seconds: the pole may fall for a moment, and when it does depends on the last bit of the weights
    const later = Array.from({ length: 6 }, () => score(made, 50));
    const mean = (of: 1 | 2) => later.reduce((sum, scores) => sum + scores[of], 0) / later.length;
    expect(mean(1)).toBeGreaterThan(0.7);
    expect(mean(2)).toBeLessThan(0.4);
  });

  it("an episode ends after as many steps as in the world, and another one follows", () => {
    const made = scene({ ...data, world: { hard: false, horizon: 20 } });
    const over = () => (made.advance().values.agent as { over: boolean }).over;
    const found = Array.from({ length: 100 }, over);
    expect(found.indexOf(true)).toBe(9);
    expect(found.slice(9).indexOf(false)).toBe(75);
  });

  it("the recovery curve begins anew at each shuffle", () => {
    const made = scene();
    score(made, 300);
    made.press("shuffle");
    const { values, reset } = made.advance();
    expect(reset).toContain("recovery");
    const points = [...(values.recovery as number[][])];
    for (let i = 0; i < 10; i++) points.push(...(made.advance().values.recovery as number[][]));
    expect(points[0]![0]).toBeLessThanOrEqual(5);
    expect(points[0]![1]).toBeCloseTo(1, 1);
  });

  it("keeps what was in place when channels are added and removed", () => {
    const made = scene();
    made.set("order", [4, 3, 2, 1, 0]);
    made.set("noise", 2);
    expect(calls.at(-1)!.slice(0, 2)).toEqual(["order", [4, 3, 2, 1, 0, 5, 6]]);
    made.set("duplicate", true);
    expect((made.advance().values.sensors as number[]).length).toBe(12);
    made.set("noise", 0);
    made.set("duplicate", false);
    expect(calls.at(-1)!.slice(0, 2)).toEqual(["order", [4, 3, 2, 1, 0]]);
  });

  it("noise channels have the standard deviation of Python, 0.1", () => {
    const made = scene();
    made.set("noise", 10);
    const found = Array.from({ length: 100 }, () => (made.advance().values.sensors as number[]).slice(5)).flat();
    expect(Math.sqrt(found.reduce((sum, x) => sum + x * x, 0) / found.length)).toBeCloseTo(0.1, 1);
    expect(Math.max(...found.map(Math.abs))).toBeLessThan(0.6);
  });

  it("a sensor that is off reads zero, and an order that is none is refused", () => {
    const made = scene();
    made.set("cos angle", false);
    expect((made.advance().values.sensors as number[])[2]).toBe(0);
    made.set("order", [0, 0, 1, 2, 3]);
    made.set("order", [0, 1]);
    expect((made.advance().values.sensors as number[]).length).toBe(5);
  });

  it("keys push the carts, also where the agent balances", () => {
    const made = scene();
    score(made, 300);
    const at = () => (made.advance().values.agent as { x: number }).x;
    const before = at();
    made.keys(["right"]);
    for (let i = 0; i < 20; i++) at();
    expect(at()).toBeGreaterThan(before + 0.05);
  });
});

import type { Control, Key, Panel, Scene, Setting } from "../messages";
import {
  DT,
  force,
  initial,
  observe,
  POLE_LENGTH,
  reward,
  type State,
  TRACK,
  terminated,
  transition,
} from "./cart_pole";
import type { LocalScene, Notices, Update } from "./local";
import { feedForward, type Layers, Neurons, type NeuronWeights } from "./neurons";
import { normal, permutation } from "./random";

const RATE = 50; // frames per second
const STEPS = 2; // steps of 0.01 s in a frame
const FIRST = 1; // seed of the first episode: both agents recover from its start
const WINDOW = 100; // steps of the mean reward
const PAUSE = 150; // steps between the end of an episode and the next one
const PUSH = 20; // N at most
const GRIP = 2.4; // m between pointer and cart at which a push is full
const SMALLEST = 0.01; // reward per step below which a share of it is not shown
const NOISE_SD = 0.1; // as sensorium.envs.sensors.Noise
const SENSORS = ["position", "speed", "cos angle", "sin angle", "spin"];
const NAMES: Record<string, string> = { agent: "permutation-invariant agent", baseline: "feed-forward network" };

export interface SensesData {
  /** whether initial states have a wide range; steps of an episode */
  world: { hard: boolean; horizon: number };
  agent: NeuronWeights;
  baseline: Layers | null;
}

/** One cart-pole with its agent. */
class Run {
  state: State;
  push = 0; // N, by the visitor
  acted = 0; // N, by the agent
  over = 0; // steps since the end of the episode; 0 while it lasts
  total = 0; // reward of the episode
  private t = 0;
  private rewards: number[] = [];

  constructor(
    private seed: number,
    private readonly world: SensesData["world"],
    private readonly policy: (observation: number[]) => number,
    private readonly cleared: () => void,
  ) {
    this.state = initial(seed, world.hard);
  }

  restart(): void {
    this.seed += 1;
    this.state = initial(this.seed, this.world.hard);
    this.over = 0;
    this.total = 0;
    this.t = 0;
    this.cleared();
  }

  step(treat: (observation: number[]) => number[]): void {
    if (this.over) {
      this.over += 1;
      this.record(0);
      if (this.over > PAUSE) this.restart();
      return;
    }
    this.acted = force(this.policy(treat(observe(this.state))));
    this.state = transition(this.state, this.acted + this.push);
    this.t += 1;
    const now = reward(this.state);
    this.total += now;
    this.record(now);
    if (terminated(this.state) || this.t >= this.world.horizon) this.over = 1;
  }

  /** Mean reward per step of the last second. */
  get score(): number {
    return this.rewards.reduce((a, b) => a + b, 0) / Math.max(1, this.rewards.length);
  }

  /** What the panel shows; there a positive angle leans right. */
  get pose(): object {
    const { position, angle } = this.state;
    return { x: position, theta: -angle, push: this.push || this.acted, over: this.over > 0 };
  }

  private record(value: number): void {
    this.rewards.push(value);
    if (this.rewards.length > WINDOW) this.rewards.shift();
  }
}

/** Cart-pole: the same treatment of the senses for the permutation-invariant agent and for a feed-forward network. */
export class SensesScene implements LocalScene {
  readonly declaration: Scene;
  private readonly neurons: Neurons;
  private readonly runs: Record<string, Run>;
  private t = 0;
  private draws = 0;
  private order = SENSORS.map((_, i) => i);
  private readonly works = SENSORS.map(() => true);
  private every = 0;
  private clear = false;
  private noise = 0;
  private duplicate = false;
  private paused = false;
  private shuffledAt = -1;
  private usual: number[] = []; // scores before the shuffle
  private reset: string[] = [];

  constructor(
    agent: string,
    data: SensesData,
    private readonly seed: number,
    private readonly notices: Notices,
  ) {
    const { agent: weights, baseline, world } = data;
    const neurons = new Neurons(weights);
    this.neurons = neurons;
    const act = (obs: number[]) => neurons.act(obs)[0]!;
    this.runs = { agent: new Run(seed + FIRST, world, act, () => neurons.clear()) };
    if (baseline) {
      const inputs = baseline[0]!.weight[0]!.length;
      // a network has a fixed number of inputs: further channels are not connected
      const padded = (obs: number[]) => Array.from({ length: inputs }, (_, i) => obs[i] ?? 0);
      this.runs.baseline = new Run(
        seed + FIRST,
        world,
        (obs) => feedForward(baseline, padded(obs))[0]!,
        () => {},
      );
    }
    this.declaration = {
      type: "scene",
      name: "senses",
      agent,
      title: "Shuffle its senses",
      explanation: explanation(!!baseline),
      controls: this.controls(),
      panels: this.panels(),
      rate: RATE,
    };
  }

  set(name: string, value: Setting): void {
    const sensor = SENSORS.indexOf(name);
    if (name === "order") this.arrange(value as number[]);
    else if (name === "every") this.every = Number(value);
    else if (name === "clear") this.clear = value === true;
    else if (name === "noise") this.extend(Number(value), this.duplicate);
    else if (name === "duplicate") this.extend(this.noise, value === true);
    else if (name === "pause") this.paused = value === true;
    else if (sensor >= 0) this.works[sensor] = value === true;
  }

  press(name: string): void {
    if (name === "shuffle") this.shuffle();
    else if (name === "sort") this.arrange(this.order.map((_, i) => i));
    else if (name === "restart") for (const run of Object.values(this.runs)) run.restart();
  }

  keys(held: Key[]): void {
    const push = PUSH * (Number(held.includes("right")) - Number(held.includes("left")));
    for (const run of Object.values(this.runs)) run.push = push;
  }

  pointer(panel: string, x: number, _y: number, down: boolean): void {
    const run = this.runs[panel];
    if (!run) return;
    // the panel shows the track on 88 % of its width
    const reach = ((x - 0.5) * TRACK) / 0.44 - run.state.position;
    run.push = down ? PUSH * Math.max(-1, Math.min(1, reach / GRIP)) : 0;
  }

  advance(): Update {
    const score: number[][] = [];
    const recovery: (number | null)[][] = [];
    const reset = this.reset;
    const runs = Object.values(this.runs);
    for (let i = 0; i < STEPS && !this.paused; i++) {
      if (this.every && this.t > 0 && this.t % this.every === 0) this.shuffle();
      for (const run of runs) run.step((obs) => this.treat(obs));
      this.t += 1;
      if (this.t % 5) continue;
      const means = runs.map((run) => run.score);
      score.push([this.t * DT, ...means]);
      if (this.shuffledAt < 0) continue;
      const shares = means.map((mean, j) => {
        const usual = Math.abs(this.usual[j]!);
        return usual > SMALLEST ? mean / usual : null;
      });
      recovery.push([this.t - this.shuffledAt, ...shares]);
    }
    this.reset = [];
    const sensors = this.treat(observe(this.runs.agent!.state));
    const attention = this.neurons.attention(sensors);
    const values: Record<string, unknown> = { attention, sensors, score, recovery, status: this.status() };
    for (const [name, run] of Object.entries(this.runs)) values[name] = run.pose;
    return { values, reset };
  }

  /** All channels before they are put in order. */
  private readings(observation: number[]): number[] {
    const sensors = observation.map((value, i) => (this.works[i] ? value : 0));
    const copies = this.duplicate ? sensors : [];
    const noise = normal(this.seed + 7, this.t, this.noise).map((x) => NOISE_SD * x);
    return [...sensors, ...copies, ...noise];
  }

  private treat(observation: number[]): number[] {
    const readings = this.readings(observation);
    return this.order.map((item) => readings[item]!);
  }

  private get items(): string[] {
    const copies = this.duplicate ? SENSORS.map((name) => `${name} again`) : [];
    return [...SENSORS, ...copies, ...Array.from({ length: this.noise }, (_, i) => `noise ${i + 1}`)];
  }

  private shuffle(): void {
    this.draws += 1;
    this.arrange(permutation(this.seed + 13, this.draws, this.order.length));
  }

  private arrange(order: number[]): void {
    if ([...order].sort((a, b) => a - b).some((item, i) => item !== i) || order.length !== this.items.length) return;
    this.order = order;
    this.shuffledAt = this.t;
    this.usual = Object.values(this.runs).map((run) => run.score);
    this.reset.push("recovery");
    if (this.clear) this.neurons.clear();
    this.declare();
  }

  /** Another number of channels: sensors and copies that stay keep their slots. */
  private extend(noise: number, duplicate: boolean): void {
    const before = this.items;
    const labels = this.order.map((item) => before[item]!);
    this.noise = Math.max(0, Math.min(10, Math.round(noise)));
    this.duplicate = duplicate;
    const after = this.items;
    const kept = labels.map((label) => after.indexOf(label)).filter((item) => item >= 0);
    this.order = [...kept, ...after.map((_, i) => i).filter((item) => !kept.includes(item))];
    // a neuron more or less: all of them start anew
    this.neurons.clear();
    this.declare();
  }

  private declare(): void {
    this.notices.control("order", this.order, this.items);
    for (const panel of this.panels()) if (panel.kind === "bars" || panel.kind === "matrix") this.notices.panel(panel);
  }

  private status(): string {
    const parts = Object.entries(this.runs).map(
      ([name, run]) => `${NAMES[name]} ${run.score.toFixed(2)} per step, ${run.total.toFixed(0)} in this episode`,
    );
    const since = this.shuffledAt >= 0 ? ` The order changed ${this.t - this.shuffledAt} steps ago.` : "";
    return `Reward: ${parts.join("; ")}.${since}`;
  }

  private controls(): Control[] {
    const order = "Order of the inputs";
    const channels = "Channels";
    return [
      { name: "shuffle", label: "Shuffle", kind: "button", key: "s", group: order },
      { name: "sort", label: "First order", kind: "button", key: "o", group: order },
      {
        name: "order",
        label: "Sensor at each input",
        kind: "order",
        value: this.order,
        items: this.items,
        group: order,
      },
      {
        name: "every",
        label: "Shuffle every … steps (0: never)",
        kind: "range",
        value: 0,
        low: 0,
        high: 500,
        step: 25,
        group: order,
      },
      {
        name: "clear",
        label: "Clear memory at each shuffle",
        kind: "switch",
        value: false,
        group: order,
        help: "By default a memory stays at its input when another sensor arrives there, as in the paper. Another number of channels always clears it.",
      },
      { name: "noise", label: "Noise channels", kind: "range", value: 0, low: 0, high: 10, step: 1, group: channels },
      { name: "duplicate", label: "Every sensor twice", kind: "switch", value: false, group: channels },
      ...SENSORS.map(
        (name): Control => ({ name, label: name, kind: "switch", value: true, group: "Sensors that work" }),
      ),
      {
        name: "push",
        label: "Push the carts",
        kind: "steering",
        keys: { left: "push left", right: "push right" },
        group: "World",
      },
      { name: "restart", label: "New episode", kind: "button", key: "r", group: "World" },
      { name: "pause", label: "Pause", kind: "switch", value: false, group: "World" },
    ];
  }

  private panels(): Panel[] {
    const inputs = this.order.map((item) => this.items[item]!);
    const world = { kind: "cart-pole", limit: TRACK, length: POLE_LENGTH * 1.6, pointer: true } as const;
    const names = Object.keys(this.runs);
    const series = names.map((name) => NAMES[name]!);
    return [
      ...names.map((name): Panel => ({ name, label: capital(NAMES[name]!), ...world })),
      {
        name: "score",
        label: "Reward per step, mean of the last second",
        kind: "curve",
        series,
        x: "seconds",
        y: "reward",
      },
      {
        name: "recovery",
        label: "After the last shuffle, relative to before",
        kind: "curve",
        series,
        x: "steps since the shuffle",
        y: "share of the reward",
      },
      {
        name: "attention",
        label: "Attention of each row of the code on each input",
        kind: "matrix",
        rows: [],
        columns: inputs,
        low: -1,
        high: 1,
      },
      { name: "sensors", label: "What arrives at each input", kind: "bars", items: inputs, low: -4, high: 4 },
      { name: "status", label: "Score", kind: "text" },
    ];
  }
}

const capital = (text: string): string => text[0]!.toUpperCase() + text.slice(1);

function explanation(baseline: boolean): string {
  return (
    "The agent has one small recurrent network for each input, all with the same weights, and attention adds up their outputs: the order and number of the inputs do not matter to it. " +
    "A shuffle still disturbs it for a moment, because each network keeps the memory of the sensor that it had before, and needs some steps to recognise the new one." +
    (baseline
      ? " The feed-forward network beside it gets the same inputs and depends on their order. It has as many inputs as there are sensors; further channels are not connected."
      : "") +
    " Drag a cart to push it, or use the arrow keys."
  );
}

import type { Control, Key, Panel, Pixels, Scene, Setting } from "../messages";
import type { LocalScene, Notices, Update } from "./local";
import { mixtureSample } from "./mixture";
import { decoded, type Network, network } from "./network";
import { normal, uniform } from "./random";

const RATE = 30; // frames per second
const PAUSE = 30; // frames between the end of a dream and the next one
const SIZE = 64; // pixels

/** What `sensorium export --to web` writes of a world model. */
export interface DreamData {
  title: string;
  latents: number;
  hidden: number;
  /** names of the actions */
  actions: string[];
  /** lowest value of each action; the highest is 1 */
  low: number[];
  steering: Partial<Record<Key, { label: string; action: number[] }>>;
  horizon: number;
  temperature: number;
  /** posterior of real first frames */
  starts: { mu: number[][]; sd: number[][] };
  networks: { decoder: string; memory: string; controller: string };
}

/** A dream: M predicts the next z, V draws it; the agent or the visitor acts. */
export class DreamScene implements LocalScene {
  readonly declaration: Scene;
  private z: Float32Array = new Float32Array();
  private hidden: Float32Array = new Float32Array();
  private cell: Float32Array = new Float32Array();
  private temperature: number;
  private driven = true;
  private paused = false;
  private held: Key[] = [];
  private t = 0;
  private episode: number;
  private over = 0;
  private begun = true;
  private best = 0;
  private drawn: Pixels | null = null;
  private action: number[] = [];

  static async load(agent: string, data: DreamData, seed: number, notices: Notices): Promise<DreamScene> {
    const { decoder, memory, controller } = data.networks;
    const networks = await Promise.all([network(decoder), network(memory), network(controller)]);
    return new DreamScene(agent, data, seed, notices, ...networks);
  }

  private constructor(
    agent: string,
    private readonly data: DreamData,
    seed: number,
    private readonly notices: Notices,
    private readonly decoder: Network,
    private readonly memory: Network,
    private readonly controller: Network,
  ) {
    this.temperature = data.temperature;
    this.episode = seed;
    this.begin();
    this.declaration = {
      type: "scene",
      name: "dream",
      agent,
      title: `Inside the dream of ${data.title}`,
      explanation: EXPLANATION,
      controls: this.controls(),
      panels: this.panels(),
      rate: RATE,
    };
  }

  set(name: string, value: Setting): void {
    if (name === "temperature") this.temperature = Number(value);
    else if (name === "driven") this.driven = value === true;
    else if (name === "pause") this.paused = value === true;
  }

  press(name: string): void {
    if (name === "restart") this.begin();
    else if (name === "cheat") this.heat(0.1);
    else if (name === "default") this.heat(this.data.temperature);
  }

  keys(held: Key[]): void {
    this.held = held;
  }

  pointer(): void {}

  async advance(): Promise<Update> {
    if (this.over) {
      this.over += 1;
      if (this.over > PAUSE) this.begin();
    }
    const reset = this.begun ? ["uncertainty"] : [];
    let point: (number | null)[][] = [];
    if (!this.drawn || !(this.over || this.paused)) {
      if (!this.begun) point = [await this.step()];
      this.begun = false;
      this.drawn = await decoded(this.decoder, this.z);
    }
    return {
      values: { action: this.action, uncertainty: point, status: this.status() },
      reset,
      pictures: { dream: this.drawn },
    };
  }

  private begin(): void {
    const { mu, sd } = this.data.starts;
    this.episode += 1;
    const chosen = Math.floor(uniform(this.episode, 0xffffffff, 1)[0]! * mu.length);
    const noise = normal(this.episode, 0xfffffffe, this.data.latents);
    this.z = Float32Array.from(mu[chosen]!, (x, i) => x + sd[chosen]![i]! * noise[i]!);
    this.hidden = new Float32Array(this.data.hidden);
    this.cell = new Float32Array(this.data.hidden);
    this.t = 0;
    this.over = 0;
    this.begun = true;
    this.drawn = null;
    this.action = this.data.actions.map(() => 0);
  }

  /** One step of the dream; returns a point of the curve. */
  private async step(): Promise<(number | null)[]> {
    const { latents, horizon } = this.data;
    this.action = await this.chosen();
    const { hidden_next, cell_next, log_weight, mean, log_sd, restart } = await this.memory.run({
      z: this.z,
      action: Float32Array.from(this.action),
      first: Float32Array.of(this.t === 0 ? 1 : 0),
      hidden: this.hidden,
      cell: this.cell,
    });
    const [choice, noise] = [uniform(this.episode, 2 * this.t, latents), normal(this.episode, 2 * this.t + 1, latents)];
    const before = this.z;
    this.z = mixtureSample(log_weight!, mean!, log_sd!, this.temperature, choice, noise);
    [this.hidden, this.cell] = [hidden_next!, cell_next!];
    this.t += 1;
    this.best = Math.max(this.best, this.t);
    const ends = restart ? 1 / (1 + Math.exp(-restart[0]!)) : null;
    if ((ends !== null && ends > 0.5) || this.t >= horizon) this.over = 1;
    const change = Math.sqrt(this.z.reduce((sum, x, i) => sum + (x - before[i]!) ** 2, 0) / latents);
    return ends === null ? [this.t, change] : [this.t, change, ends];
  }

  /** The visitor's action while keys are held, otherwise the agent's, or none. */
  private async chosen(): Promise<number[]> {
    const { steering, actions, low } = this.data;
    const moves = this.held.flatMap((key) => steering[key]?.action ?? []);
    if (moves.length)
      return actions.map((_, i) => clamp(sum(moves.filter((_, j) => j % actions.length === i)), low[i]!));
    if (!this.driven) return actions.map(() => 0);
    return [...(await this.controller.run({ z: this.z, hidden: this.hidden, cell: this.cell })).action!];
  }

  private heat(temperature: number): void {
    this.temperature = temperature;
    this.notices.control("temperature", temperature);
  }

  private status(): string {
    const who = this.held.length ? "you steer" : this.driven ? "the agent steers" : "nobody steers";
    const state = this.over ? `the dream ended after ${this.t} steps` : `step ${this.t}, ${who}`;
    return `${state[0]!.toUpperCase()}${state.slice(1)}; longest so far ${this.best}.`;
  }

  private controls(): Control[] {
    const { steering, temperature } = this.data;
    const keys = Object.fromEntries(Object.entries(steering).map(([key, { label }]) => [key, label]));
    return [
      { name: "steer", label: "Steer: hold a key or a button", kind: "steering", keys, group: "Who acts" },
      { name: "driven", label: "The agent acts while no key is held", kind: "switch", value: true, group: "Who acts" },
      {
        name: "temperature",
        label: "Temperature",
        kind: "range",
        value: temperature,
        low: 0.1,
        high: 3,
        step: 0.05,
        group: "The dream",
      },
      { name: "cheat", label: "Temperature 0.1", kind: "button", key: "l", group: "The dream" },
      { name: "default", label: `Temperature ${temperature}`, kind: "button", key: "t", group: "The dream" },
      { name: "restart", label: "New dream", kind: "button", key: "r", group: "The dream" },
      { name: "pause", label: "Pause", kind: "switch", value: false, group: "The dream" },
    ];
  }

  private panels(): Panel[] {
    const series = ["change of z", ...(this.memory.outputs.includes("restart") ? ["probability that it ends"] : [])];
    return [
      { name: "dream", label: "The dream, drawn by V", kind: "picture", width: SIZE, height: SIZE },
      { name: "action", label: "Action", kind: "bars", items: this.data.actions, low: -1, high: 1 },
      { name: "uncertainty", label: "Each step of the dream", kind: "curve", series, x: "step", y: "" },
      { name: "status", label: "Progress", kind: "text" },
    ];
  }
}

const EXPLANATION =
  "No world runs here. A recurrent network (M) has learned to predict what comes next, and each frame is drawn from its prediction by a decoder (V). Steer with the arrow keys, or let the agent (C). " +
  "The temperature sets how random the predictions are. At a low temperature M repeats its most likely prediction (in TakeCover fireballs may never appear), and a controller that is trained there learns to exploit this and fails in the real world. " +
  "A higher temperature makes the dream harder than the world.";

const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);

const clamp = (value: number, low: number): number => Math.max(low, Math.min(1, value));

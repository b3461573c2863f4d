import type { Control, Key, Panel, Pixels, Scene, Setting } from "../messages";
import type { LocalScene, Notices, Update } from "./local";
import { decoded, type Network, network } from "./network";
import { uniform } from "./random";

const RATE = 30; // frames per second
const TURN = 2 * RATE; // frames in which one dimension varies
const SWING = 2; // by how much it varies on either side

/** What `sensorium export --to web` writes of the latent space of a world model. */
export interface LatentData {
  explanation: string;
  /** address of the real frames, side by side */
  frames: string;
  /** mean of z for each frame */
  mu: number[][];
  sliders: { dimension: number; label: string }[];
  /** range of a slider on either side of 0 */
  reach: number;
  /** all dimensions, those with the smallest posterior standard deviation first */
  sorted: number[];
  /** address of V's decoder */
  decoder: string;
}

/** Sliders on the dimensions of z that carry information, and real frames beside their reconstructions. */
export class LatentScene implements LocalScene {
  readonly declaration: Scene;
  private chosen = 0;
  private draws = 0;
  private z: number[] = [];
  private wander = false;
  private clock = 0;
  private reconstruction: Pixels | null = null;

  static async load(agent: string, data: LatentData, seed: number, notices: Notices): Promise<LatentScene> {
    const [decoder, frames] = await Promise.all([network(data.decoder), pictures(data.frames, data.mu.length)]);
    return new LatentScene(agent, data, seed, notices, decoder, frames);
  }

  constructor(
    agent: string,
    private readonly data: LatentData,
    private readonly seed: number,
    private readonly notices: Notices,
    private readonly decoder: Network,
    private readonly frames: Pixels[],
  ) {
    this.draw();
    this.declaration = {
      type: "scene",
      name: "latent",
      agent,
      title: "Change its latent vector",
      explanation: data.explanation,
      controls: this.controls(),
      panels: this.panels(),
      rate: RATE,
    };
  }

  set(name: string, value: Setting): void {
    if (name === "wander") {
      this.wander = value === true;
      this.clock = 0;
    } else this.z[Number(name.slice(2))] = Number(value);
  }

  press(name: string): void {
    if (name === "frame") this.draw();
    else this.show();
  }

  keys(_held: Key[]): void {}

  pointer(): void {}

  async advance(): Promise<Update> {
    const z = [...this.z];
    let about = "The first picture is decoded from the sliders.";
    if (this.wander && this.data.sliders.length) {
      this.clock += 1;
      const { dimension } = this.data.sliders[Math.floor(this.clock / TURN) % this.data.sliders.length]!;
      z[dimension]! += SWING * Math.sin((2 * Math.PI * this.clock) / TURN);
      about = `Dimension ${dimension + 1} varies.`;
    }
    this.reconstruction ??= await decoded(this.decoder, this.data.mu[this.chosen]!);
    const imagined = await decoded(this.decoder, z);
    return {
      values: {
        z: this.data.sorted.map((i) => z[i]!),
        status: `Frame ${this.chosen + 1} of ${this.frames.length}. ${about}`,
      },
      pictures: { real: this.frames[this.chosen]!, reconstruction: this.reconstruction, imagined },
    };
  }

  /** Take another frame, at random. */
  private draw(): void {
    const others = this.frames.length - 1;
    const shift = 1 + Math.floor(uniform(this.seed, this.draws, 1)[0]! * others);
    this.draws += 1;
    this.chosen = (this.chosen + shift) % this.frames.length;
    this.show();
  }

  /** Set the sliders to the z of the frame. */
  private show(): void {
    this.z = [...this.data.mu[this.chosen]!];
    this.reconstruction = null;
    for (const { dimension } of this.data.sliders) this.notices.control(`z ${dimension}`, this.slider(dimension));
  }

  private slider(dimension: number): number {
    const { reach } = this.data;
    return Math.round(100 * Math.max(-reach, Math.min(reach, this.z[dimension]!))) / 100;
  }

  private controls(): Control[] {
    const { reach, sliders } = this.data;
    return [
      { name: "frame", label: "Another real frame", kind: "button", key: "f" },
      { name: "back", label: "Back to this frame", kind: "button", key: "b" },
      { name: "wander", label: "Vary one dimension after another", kind: "switch", value: false },
      ...sliders.map(
        ({ dimension, label }): Control => ({
          name: `z ${dimension}`,
          label,
          kind: "range",
          value: this.slider(dimension),
          low: -reach,
          high: reach,
          step: 0.01,
          group: "Latent dimensions",
        }),
      ),
    ];
  }

  private panels(): Panel[] {
    const { reach, sorted } = this.data;
    const { width, height } = this.frames[0]!;
    const picture = { kind: "picture", width, height } as const;
    return [
      { name: "imagined", label: "The z of the sliders", ...picture },
      { name: "real", label: "A real frame", ...picture },
      { name: "reconstruction", label: "Its reconstruction", ...picture },
      {
        name: "z",
        label: "z of the first picture, smallest sd first",
        kind: "bars",
        items: sorted.map((i) => `z ${i + 1}`),
        low: -reach,
        high: reach,
      },
      { name: "status", label: "z", kind: "text" },
    ];
  }
}

/** Pictures that lie side by side in a file. */
async function pictures(url: string, count: number): Promise<Pixels[]> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} cannot be read`);
  const strip = await createImageBitmap(await response.blob(), { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(strip.width, strip.height);
  const context = canvas.getContext("2d")!;
  context.drawImage(strip, 0, 0);
  const width = strip.width / count;
  return Array.from({ length: count }, (_, i) => {
    const { data } = context.getImageData(i * width, 0, width, strip.height);
    return { width, height: strip.height, data: Uint8Array.from(data.filter((_, at) => at % 4 < 3)) };
  });
}

import type { Agent, Frame, Key, Scene, Setting } from "../messages";
import type { Listener, Source } from "../source";

const AHEAD = 3; // frames that are not yet shown

export interface Update {
  values: Record<string, unknown>;
  reset?: string[];
  pictures?: Frame["pictures"];
}

/** What a scene may tell the page between frames. */
export interface Notices {
  control(name: string, value: Setting, items?: string[]): void;
  panel: Listener["panel"];
}

/** A scene that runs in this page. `advance` computes one frame. */
export interface LocalScene {
  readonly declaration: Scene;
  set(name: string, value: Setting): void;
  press(name: string): void;
  keys(held: Key[]): void;
  pointer(panel: string, x: number, y: number, down: boolean): void;
  advance(): Update | Promise<Update>;
  close?(): void;
}

interface ExportedScene {
  name: string;
  title: string;
  kind: "senses" | "dream" | "latent";
  data: string;
}

interface ExportedAgent extends Omit<Agent, "scenes"> {
  scenes: ExportedScene[];
}

/** The agents of an exported folder. */
export async function exportedAgents(manifest: string): Promise<ExportedAgent[]> {
  const response = await fetch(manifest);
  if (!response.ok) throw new Error(`${manifest} cannot be read`);
  return ((await response.json()) as { agents: ExportedAgent[] }).agents;
}

async function loaded(agent: ExportedAgent, scene: ExportedScene, seed: number, notices: Notices): Promise<LocalScene> {
  const data = await (await fetch(scene.data)).json();
  if (scene.kind === "senses") {
    const { SensesScene } = await import("./senses");
    return new SensesScene(agent.name, data, seed, notices);
  }
  if (scene.kind === "latent") {
    const { LatentScene } = await import("./latent");
    return LatentScene.load(agent.name, data, seed, notices);
  }
  const { DreamScene } = await import("./dream");
  return DreamScene.load(agent.name, data, seed, notices);
}

/** Runs exported scenes without a server. */
export class LocalSource implements Source {
  private running: LocalScene | null = null;
  private opened = 0;
  private frame = 0;
  private lastShown = 0;
  private wake: (() => void) | null = null;

  constructor(
    private readonly manifest: string,
    private readonly listener: Listener,
  ) {}

  open(agent: string, scene: string, seed: number): void {
    this.opened += 1;
    const turn = this.opened;
    this.run(turn, agent, scene, seed).catch((error: unknown) => {
      if (turn === this.opened)
        this.listener.problem(`The scene has stopped: ${error instanceof Error ? error.message : String(error)}`, true);
    });
  }

  set(name: string, value: Setting): void {
    this.running?.set(name, value);
  }

  press(name: string): void {
    this.running?.press(name);
  }

  keys(held: Key[]): void {
    this.running?.keys(held);
  }

  pointer(panel: string, x: number, y: number, down: boolean): void {
    this.running?.pointer(panel, x, y, down);
  }

  shown(frame: number): void {
    this.lastShown = frame;
    this.wake?.();
  }

  close(): void {
    this.opened += 1;
    this.running?.close?.();
    this.wake?.();
  }

  private async run(turn: number, agentName: string, sceneName: string, seed: number): Promise<void> {
    const agent = (await exportedAgents(this.manifest)).find((one) => one.name === agentName);
    const entry = agent?.scenes.find((one) => one.name === sceneName);
    if (!agent || !entry) throw new Error(`no scene ${sceneName} of ${agentName}`);
    const scene = await loaded(agent, entry, seed, this.listener);
    if (turn !== this.opened) return scene.close?.();
    this.running?.close?.();
    this.running = scene;
    this.listener.scene(scene.declaration);
    const period = 1000 / scene.declaration.rate;
    for (let due = performance.now(); turn === this.opened; due += period) {
      const now = performance.now();
      if (due > now) await new Promise((resolve) => setTimeout(resolve, due - now));
      else if (now - due > 10 * period) due = now;
      while (this.frame - this.lastShown >= AHEAD && turn === this.opened) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
      const { values, reset, pictures } = await scene.advance();
      if (turn !== this.opened) return;
      this.frame += 1;
      this.listener.frame({ frame: this.frame, values, reset: reset ?? [], pictures: pictures ?? {} });
    }
  }
}

import type { Frame, Key, Panel, Scene, Setting } from "./messages";

/** What a source calls back. */
export interface Listener {
  scene(scene: Scene): void;
  frame(frame: Frame): void;
  control(name: string, value: Setting, items?: string[]): void;
  panel(panel: Panel): void;
  problem(message: string, fatal: boolean): void;
  /** The state of the connection: empty where all is well. */
  status(message: string): void;
}

/** Where scenes run: a server behind a WebSocket, or this page itself. */
export interface Source {
  open(agent: string, scene: string, seed: number): void;
  set(name: string, value: Setting): void;
  press(name: string): void;
  keys(held: Key[]): void;
  pointer(panel: string, x: number, y: number, down: boolean): void;
  shown(frame: number): void;
  close(): void;
}

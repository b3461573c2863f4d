// Messages between a scene and the page. A scene is a list of controls and a list of panels; the page draws any scene from these.

/** A named control; `value` is its present value. */
export type Control = { name: string; label: string; help?: string; group?: string } & (
  | { kind: "range"; value: number; low: number; high: number; step: number }
  | { kind: "switch"; value: boolean }
  | { kind: "button"; key?: string }
  | { kind: "choice"; value: string; options: { value: string; label: string }[] }
  | { kind: "order"; value: number[]; items: string[] }
  | { kind: "steering"; keys: Partial<Record<Key, string>> }
);

export type ControlOf<K extends Control["kind"]> = Extract<Control, { kind: K }>;

/** A named view of the scene; its value comes with every frame. */
export type Panel = { name: string; label: string; wide?: boolean } & (
  | { kind: "picture"; width: number; height: number; pointer?: boolean }
  | { kind: "bars"; items: string[]; low: number; high: number }
  | { kind: "matrix"; rows: string[]; columns: string[]; low: number; high: number }
  | { kind: "curve"; series: string[]; x: string; y: string }
  | { kind: "cart-pole"; limit: number; length: number; pointer: boolean }
  | { kind: "bodies" }
  | { kind: "points"; low: [number, number]; high: [number, number]; series: string[] }
  | { kind: "text" }
);

export type PanelOf<K extends Panel["kind"]> = Extract<Panel, { kind: K }>;

export type Key = "left" | "right" | "up" | "down" | "space";

export type Setting = number | boolean | string | number[];

/** Declaration of a scene. `rate` is in frames per second. */
export interface Scene {
  type: "scene";
  name: string;
  agent: string;
  title: string;
  explanation: string;
  controls: Control[];
  panels: Panel[];
  rate: number;
}

export type ServerText =
  | Scene
  | { type: "problem"; message: string; fatal: boolean }
  | { type: "control"; name: string; value: Setting; items?: string[] }
  | { type: "panel"; panel: Panel };

/** uint8 RGB, row by row. */
export interface Pixels {
  width: number;
  height: number;
  data: Uint8Array;
}

/** One moment of a scene: values by panel, pictures by panel, and panels that begin anew. */
export interface Frame {
  frame: number;
  values: Record<string, unknown>;
  reset: string[];
  pictures: Record<string, Pixels>;
}

export interface Agent {
  name: string;
  recipe: string | null;
  title: string;
  score: string | null;
  scenes: { name: string; title: string }[];
  thumbnail: string | null;
}

interface Header {
  frame: number;
  values?: Record<string, unknown>;
  reset?: string[];
  blobs?: { panel: string; offset: number; length: number; width: number; height: number }[];
}

/** A frame from its bytes: uint32 little-endian length, JSON of that length, blobs. Throws RangeError or SyntaxError if malformed. */
export function decodeFrame(buffer: ArrayBuffer): Frame {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))) as Header;
  const pictures: Record<string, Pixels> = {};
  for (const blob of header.blobs ?? []) {
    const data = new Uint8Array(buffer, 4 + length + blob.offset, blob.length);
    if (blob.length !== 3 * blob.width * blob.height)
      throw new RangeError(`picture ${blob.panel} has ${blob.length} bytes`);
    pictures[blob.panel] = { width: blob.width, height: blob.height, data };
  }
  return { frame: header.frame, values: header.values ?? {}, reset: header.reset ?? [], pictures };
}

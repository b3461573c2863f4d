import { colours, Drawing } from "../dom";
import type { PanelOf } from "../messages";
import type { View } from "./panel";

interface Bodies {
  /** capsules: both ends and the radius, metres, z up */
  segments: [number, number, number, number, number, number, number][];
  center: [number, number];
}

const [TURN, TILT, DISTANCE, FIELD] = [0.9, 0.42, 4.2, 1.15];

/** Perspective view of capsules over a ground grid. */
export class BodiesView implements View {
  readonly node: HTMLElement;
  private readonly drawing: Drawing;
  private value: Bodies = { segments: [], center: [0, 0] };
  private dirty = true;

  constructor(panel: PanelOf<"bodies">) {
    this.drawing = new Drawing(
      panel.label,
      (width) => Math.round(width * 0.66),
      () => {
        this.dirty = true;
      },
    );
    this.node = this.drawing.canvas;
  }

  update(value: unknown): void {
    this.value = value as Bodies;
    this.dirty = true;
  }

  draw(): void {
    if (!this.dirty) return;
    this.dirty = false;
    const { segments, center } = this.value;
    this.drawing.draw((pen, width, height) => {
      const { line, series } = colours();
      const eye = projection(center, width, height);
      // ground
      pen.strokeStyle = line;
      pen.lineWidth = 1;
      const [cx, cy] = [Math.round(center[0]), Math.round(center[1])];
      for (let i = -4; i <= 4; i++) {
        for (const [a, b] of [
          [eye(cx + i, cy - 4, 0), eye(cx + i, cy + 4, 0)],
          [eye(cx - 4, cy + i, 0), eye(cx + 4, cy + i, 0)],
        ] as const) {
          if (a.depth < 0.3 || b.depth < 0.3) continue;
          pen.beginPath();
          pen.moveTo(a.x, a.y);
          pen.lineTo(b.x, b.y);
          pen.stroke();
        }
      }
      // shadows, then bodies from far to near
      pen.lineCap = "round";
      const stroke = (a: Point, b: Point, radius: number, colour: string, alpha: number) => {
        pen.globalAlpha = alpha;
        pen.strokeStyle = colour;
        pen.lineWidth = Math.max(1.5, (2 * radius * a.scale + 2 * radius * b.scale) / 2);
        pen.beginPath();
        pen.moveTo(a.x, a.y);
        pen.lineTo(b.x + 0.01, b.y);
        pen.stroke();
      };
      for (const [x1, y1, , x2, y2, , r] of segments) stroke(eye(x1, y1, 0), eye(x2, y2, 0), r, line, 0.8);
      const drawn = segments.map((s) => ({ a: eye(s[0], s[1], s[2]), b: eye(s[3], s[4], s[5]), s }));
      drawn.sort((p, q) => q.a.depth + q.b.depth - p.a.depth - p.b.depth);
      drawn.forEach(({ a, b, s }) => {
        const round = s[0] === s[3] && s[1] === s[4] && s[2] === s[5];
        stroke(a, b, s[6], round ? series[1]! : series[0]!, 1);
      });
      pen.globalAlpha = 1;
    });
  }

  close(): void {
    this.drawing.close();
  }
}

interface Point {
  x: number;
  y: number;
  depth: number;
  /** pixels a metre */
  scale: number;
}

/** Projection of metres to pixels, for a camera that follows `center`. */
export function projection(
  center: [number, number],
  width: number,
  height: number,
): (x: number, y: number, z: number) => Point {
  const [sin, cos, tilt, rise] = [Math.sin(TURN), Math.cos(TURN), Math.sin(TILT), Math.cos(TILT)];
  return (x, y, z) => {
    const [dx, dy, dz] = [x - center[0], y - center[1], z - 0.4];
    const right = cos * dx + sin * dy;
    const forward = -sin * dx + cos * dy;
    const depth = DISTANCE + forward * rise - dz * tilt;
    const up = dz * rise + forward * tilt;
    const scale = (FIELD * Math.min(width, 1.5 * height)) / Math.max(depth, 0.1);
    return { x: width / 2 + right * scale, y: height * 0.52 - up * scale, depth, scale };
  };
}

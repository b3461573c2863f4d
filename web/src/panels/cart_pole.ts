import { colours, Drawing } from "../dom";
import type { PanelOf } from "../messages";
import { follow, type Pointer, type View } from "./panel";

interface Pose {
  /** metres from the middle of the track */
  x: number;
  /** radians, 0 is upright, clockwise */
  theta: number;
  /** newtons, where shown */
  push?: number;
  /** whether the episode is over */
  over?: boolean;
}

/** A cart on a track with a pole. */
export class CartPoleView implements View {
  readonly node: HTMLElement;
  private readonly drawing: Drawing;
  private pose: Pose = { x: 0, theta: Math.PI };
  private dirty = true;

  constructor(
    private readonly panel: PanelOf<"cart-pole">,
    pointer: Pointer,
  ) {
    this.drawing = new Drawing(
      panel.label,
      (width) => Math.min(280, Math.round(width * 0.47)),
      () => {
        this.dirty = true;
      },
    );
    this.node = this.drawing.canvas;
    if (panel.pointer) follow(this.node, pointer);
  }

  update(value: unknown): void {
    this.pose = value as Pose;
    this.dirty = true;
  }

  draw(): void {
    if (!this.dirty) return;
    this.dirty = false;
    const { x, theta, push, over } = this.pose;
    const { limit, length } = this.panel;
    this.drawing.draw((pen, width, height) => {
      const { ink, muted, line, series } = colours();
      const scale = Math.min((width * 0.44) / limit, (height * 0.42) / length);
      const ground = height * 0.52;
      const at = width / 2 + x * scale;
      const cart = Math.max(22, 0.42 * scale);
      // track
      pen.fillStyle = line;
      pen.fillRect(width / 2 - limit * scale, ground + 9, 2 * limit * scale, 3);
      for (const end of [-1, 1]) pen.fillRect(width / 2 + end * limit * scale - 1.5, ground + 1, 3, 19);
      pen.fillRect(width / 2 - 1, ground + 14, 2, 6);
      pen.globalAlpha = over ? 0.35 : 1;
      // cart
      pen.fillStyle = series[0]!;
      pen.beginPath();
      pen.roundRect(at - cart / 2, ground - 8, cart, 15, 3);
      pen.fill();
      pen.fillStyle = ink;
      for (const wheel of [-0.3, 0.3]) {
        pen.beginPath();
        pen.arc(at + wheel * cart, ground + 7, 3.5, 0, 2 * Math.PI);
        pen.fill();
      }
      // pole
      const tip = { x: at + length * scale * Math.sin(theta), y: ground - length * scale * Math.cos(theta) };
      pen.strokeStyle = series[1]!;
      pen.lineWidth = 6;
      pen.lineCap = "round";
      pen.beginPath();
      pen.moveTo(at, ground);
      pen.lineTo(tip.x, tip.y);
      pen.stroke();
      pen.fillStyle = ink;
      pen.beginPath();
      pen.arc(at, ground, 3, 0, 2 * Math.PI);
      pen.fill();
      pen.globalAlpha = 1;
      if (push && Math.abs(push) > 0.1) {
        const span = Math.sign(push) * Math.min(60, 4 + Math.abs(push) * 5);
        pen.strokeStyle = pen.fillStyle = muted;
        pen.lineWidth = 2;
        pen.beginPath();
        pen.moveTo(at, ground + 30);
        pen.lineTo(at + span, ground + 30);
        pen.stroke();
        pen.beginPath();
        pen.moveTo(at + span + Math.sign(push) * 7, ground + 30);
        pen.lineTo(at + span, ground + 25);
        pen.lineTo(at + span, ground + 35);
        pen.fill();
      }
    });
  }

  close(): void {
    this.drawing.close();
  }
}

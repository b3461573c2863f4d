import { colours, Drawing } from "../dom";
import type { Panel, PanelOf } from "../messages";
import type { View } from "./panel";

const ROW = 20;

/** A bar for each item, from zero where the range includes it. */
export class Bars implements View {
  readonly node: HTMLElement;
  private readonly drawing: Drawing;
  private values: number[] = [];
  private dirty = true;

  constructor(private panel: PanelOf<"bars">) {
    this.drawing = new Drawing(
      panel.label,
      () => Math.max(1, this.panel.items.length, this.values.length) * this.row + 4,
      () => {
        this.dirty = true;
      },
    );
    this.node = this.drawing.canvas;
  }

  private get row(): number {
    return this.panel.items.length > 40 ? 9 : ROW;
  }

  update(value: unknown): void {
    this.values = value as number[];
    this.dirty = true;
  }

  declare(panel: Panel): void {
    if (panel.kind === "bars") this.panel = panel;
    this.dirty = true;
  }

  draw(): void {
    if (!this.dirty) return;
    this.dirty = false;
    const { low, high, items } = this.panel;
    const row = this.row;
    this.drawing.draw((pen, width) => {
      const { ink, muted, line, series } = colours();
      pen.font = `${row > 12 ? 12 : 8}px system-ui, sans-serif`;
      pen.textBaseline = "middle";
      const labels =
        items.length > 40
          ? 0
          : Math.min(width * 0.4, Math.max(0, ...items.map((item) => pen.measureText(item).width)) + 10);
      const numbers = row > 12 ? 52 : 0;
      const span = width - labels - numbers;
      const at = (value: number) => labels + (span * (Math.min(high, Math.max(low, value)) - low)) / (high - low || 1);
      const zero = at(low <= 0 && high >= 0 ? 0 : low);
      for (let i = 0; i < Math.max(items.length, this.values.length); i++) {
        const y = 2 + i * row;
        const value = this.values[i] ?? 0;
        pen.fillStyle = line;
        pen.fillRect(labels, y + row / 2 - 0.5, span, 1);
        pen.fillStyle = series[0]!;
        pen.fillRect(Math.min(zero, at(value)), y + row * 0.2, Math.max(1, Math.abs(at(value) - zero)), row * 0.6);
        if (labels) {
          pen.fillStyle = ink;
          pen.textAlign = "left";
          pen.fillText(items[i] ?? "", 0, y + row / 2, labels - 8);
        }
        if (numbers) {
          pen.fillStyle = muted;
          pen.textAlign = "right";
          pen.fillText(value.toFixed(2), width, y + row / 2);
        }
      }
      pen.fillStyle = muted;
      pen.fillRect(zero - 0.5, 0, 1, items.length * row + 4);
    });
  }

  close(): void {
    this.drawing.close();
  }
}

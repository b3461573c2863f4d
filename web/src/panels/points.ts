import { colours, Drawing } from "../dom";
import type { PanelOf } from "../messages";
import type { View } from "./panel";

const LIMIT = 20000;

/** A map of points that grows; the newest ones are larger. */
export class Points implements View {
  readonly node: HTMLElement;
  private readonly drawing: Drawing;
  private points: [number, number, number][] = [];
  private dirty = true;

  constructor(private readonly panel: PanelOf<"points">) {
    this.drawing = new Drawing(
      panel.label,
      (width) => Math.min(340, width) + 24,
      () => {
        this.dirty = true;
      },
    );
    this.node = this.drawing.canvas;
  }

  update(value: unknown): void {
    this.points.push(...(value as [number, number, number][]));
    if (this.points.length > LIMIT) this.points = this.points.filter((_, i) => i % 2 === 0);
    this.dirty = true;
  }

  reset(): void {
    this.points = [];
    this.dirty = true;
  }

  draw(): void {
    if (!this.dirty) return;
    this.dirty = false;
    const { low, high, series: names } = this.panel;
    this.drawing.draw((pen, width, height) => {
      const { ink, line, series } = colours();
      const tall = height - 24;
      pen.strokeStyle = line;
      pen.strokeRect(0.5, 0.5, width - 1, tall - 1);
      const recent = this.points.length - 60;
      this.points.forEach(([index, x, y], i) => {
        const px = ((x - low[0]) / (high[0] - low[0] || 1)) * (width - 8) + 4;
        const py = tall - 4 - ((y - low[1]) / (high[1] - low[1] || 1)) * (tall - 8);
        pen.fillStyle = series[index % series.length]!;
        pen.globalAlpha = i > recent ? 1 : 0.45;
        const size = i > recent ? 4 : 2.5;
        pen.fillRect(px - size / 2, py - size / 2, size, size);
      });
      pen.globalAlpha = 1;
      pen.font = "12px system-ui, sans-serif";
      pen.textBaseline = "middle";
      let left = 0;
      names.forEach((name, i) => {
        pen.fillStyle = series[i % series.length]!;
        pen.fillRect(left, tall + 10, 8, 8);
        pen.fillStyle = ink;
        pen.fillText(name, left + 12, tall + 14);
        left += pen.measureText(name).width + 28;
      });
    });
  }

  close(): void {
    this.drawing.close();
  }
}

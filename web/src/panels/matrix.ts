import { colours, Drawing } from "../dom";
import type { Panel, PanelOf } from "../messages";
import type { View } from "./panel";

/** A heat map: two colours around zero where the range includes it, otherwise one. */
export class Matrix implements View {
  readonly node: HTMLElement;
  private readonly drawing: Drawing;
  private values: number[][] = [];
  private dirty = true;

  constructor(private panel: PanelOf<"matrix">) {
    this.drawing = new Drawing(
      panel.label,
      (width) => {
        const rows = Math.max(1, this.values.length);
        return rows * Math.min(18, Math.max(3, width / 20)) + (this.labelled ? 22 : 4);
      },
      () => {
        this.dirty = true;
      },
    );
    this.node = this.drawing.canvas;
  }

  private get labelled(): boolean {
    return this.panel.columns.length <= 16 && this.panel.columns.some(Boolean);
  }

  update(value: unknown): void {
    this.values = value as number[][];
    this.dirty = true;
  }

  declare(panel: Panel): void {
    if (panel.kind === "matrix") this.panel = panel;
    this.dirty = true;
  }

  draw(): void {
    if (!this.dirty) return;
    this.dirty = false;
    const { low, high, rows, columns } = this.panel;
    this.drawing.draw((pen, width, height) => {
      const { muted, line, series } = colours();
      pen.font = "11px system-ui, sans-serif";
      pen.textBaseline = "middle";
      const left =
        rows.some(Boolean) && rows.length <= 24
          ? Math.min(90, Math.max(...rows.map((r) => pen.measureText(r).width)) + 8)
          : 0;
      const bottom = this.labelled ? 18 : 0;
      const count = Math.max(1, ...this.values.map((row) => row.length));
      const [w, h] = [(width - left) / count, (height - bottom) / Math.max(1, this.values.length)];
      this.values.forEach((row, i) => {
        row.forEach((value, j) => {
          const reach = low < 0 && high > 0 ? value / Math.max(-low, high) : (value - low) / (high - low || 1);
          pen.fillStyle = line;
          pen.globalAlpha = 0.35;
          pen.fillRect(left + j * w, i * h, w - 1, h - 1);
          pen.globalAlpha = Math.min(1, Math.abs(reach));
          pen.fillStyle = reach < 0 ? series[1]! : series[0]!;
          pen.fillRect(left + j * w, i * h, w - 1, h - 1);
        });
        if (left) {
          pen.globalAlpha = 1;
          pen.fillStyle = muted;
          pen.textAlign = "right";
          pen.fillText(rows[i] ?? "", left - 5, i * h + h / 2, left);
        }
      });
      pen.globalAlpha = 1;
      if (bottom) {
        pen.fillStyle = muted;
        pen.textAlign = "center";
        columns.forEach((label, j) => {
          pen.fillText(label, left + (j + 0.5) * w, height - bottom / 2, w - 2);
        });
      }
    });
  }

  close(): void {
    this.drawing.close();
  }
}

import uPlot from "uplot";
import { colours, element, onScheme } from "../dom";
import type { PanelOf } from "../messages";
import type { View } from "./panel";

const HEIGHT = 180;
const POINTS = 4000;

/** Curves that grow to the right. A long one keeps every second point. */
export class Curve implements View {
  readonly node: HTMLElement;
  private plot: uPlot | null = null;
  private data: (number | null)[][];
  private dirty = true;
  private every = 1;
  private seen = 0;
  private readonly observer: ResizeObserver;
  private readonly endScheme: () => void;

  constructor(private readonly panel: PanelOf<"curve">) {
    this.node = element("div", { class: "curve", role: "img", "aria-label": panel.label });
    this.data = this.blank();
    this.observer = new ResizeObserver(() => {
      const width = this.node.clientWidth;
      if (width && !this.plot) this.make(width);
      else if (width) this.plot?.setSize({ width, height: HEIGHT });
    });
    this.observer.observe(this.node);
    this.endScheme = onScheme(() => this.make(this.node.clientWidth));
  }

  update(value: unknown): void {
    for (const point of value as (number | null)[][]) {
      if (this.seen++ % this.every) continue;
      this.data.forEach((column, i) => {
        column.push(point[i] ?? null);
      });
      this.dirty = true;
    }
    if (this.data[0]!.length > POINTS) {
      this.data = this.data.map((column) => column.filter((_, i) => i % 2 === 0));
      this.every *= 2;
    }
  }

  reset(): void {
    this.data = this.blank();
    this.every = 1;
    this.seen = 0;
    this.dirty = true;
  }

  draw(): void {
    if (this.dirty && this.plot) {
      this.node.toggleAttribute("data-empty", !this.data[0]!.length);
      this.plot.setData(this.data as uPlot.AlignedData);
      this.dirty = false;
    }
  }

  close(): void {
    this.observer.disconnect();
    this.endScheme();
    this.plot?.destroy();
  }

  private blank(): (number | null)[][] {
    return [[], ...this.panel.series.map(() => [])];
  }

  private make(width: number): void {
    this.plot?.destroy();
    const { ink, muted, line, series } = colours();
    const font = "11px system-ui, sans-serif";
    const axis = {
      stroke: muted,
      font,
      labelFont: font,
      labelSize: 16,
      grid: { stroke: line, width: 1 },
      ticks: { show: false },
    };
    this.plot = new uPlot(
      {
        width,
        height: HEIGHT,
        cursor: { show: false },
        legend: { show: this.panel.series.length > 1, live: false },
        scales: { x: { time: false } },
        axes: [
          { ...axis, label: this.panel.x, size: 26 },
          { ...axis, label: this.panel.y, size: 44 },
        ],
        series: [
          {},
          ...this.panel.series.map((label, i) => ({
            label,
            stroke: series[i % series.length] ?? ink,
            width: 1.5,
            spanGaps: true,
            points: { show: false },
          })),
        ],
      },
      this.data as uPlot.AlignedData,
      this.node,
    );
  }
}

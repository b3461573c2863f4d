/** A new element with attributes, properties and children. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** The colours of the style sheet, in the present scheme. */
export interface Palette {
  ink: string;
  muted: string;
  line: string;
  paper: string;
  accent: string;
  series: string[];
}

const SERIES = 6;
let palette: Palette | null = null;

export function colours(): Palette {
  if (!palette) {
    const style = getComputedStyle(document.documentElement);
    const value = (name: string) => style.getPropertyValue(`--${name}`).trim();
    palette = {
      ink: value("ink"),
      muted: value("muted"),
      line: value("line"),
      paper: value("paper"),
      accent: value("accent"),
      series: Array.from({ length: SERIES }, (_, i) => value(`series-${i + 1}`)),
    };
  }
  return palette;
}

/** Call `changed` when the colour scheme changes. Returns a function that ends it. */
export function onScheme(changed: () => void): () => void {
  const query = matchMedia("(prefers-color-scheme: dark)");
  const listener = () => {
    palette = null;
    changed();
  };
  query.addEventListener("change", listener);
  return () => query.removeEventListener("change", listener);
}

/** A canvas that is as sharp as the screen; `draw` gets the size in CSS pixels. */
export class Drawing {
  readonly canvas: HTMLCanvasElement;
  private readonly context: CanvasRenderingContext2D;
  private readonly observer: ResizeObserver;
  private width = 0;

  constructor(
    label: string,
    private readonly height: (width: number) => number,
    private readonly resized: () => void,
  ) {
    this.canvas = element("canvas", { role: "img", "aria-label": label });
    this.context = this.canvas.getContext("2d")!;
    this.observer = new ResizeObserver(([entry]) => {
      const width = Math.round(entry!.contentRect.width);
      if (width && width !== this.width) {
        this.width = width;
        this.resized();
      }
    });
    this.observer.observe(this.canvas);
  }

  draw(paint: (context: CanvasRenderingContext2D, width: number, height: number) => void): void {
    const width = this.width || this.canvas.clientWidth;
    if (!width) return;
    const height = this.height(width);
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.canvas.style.height = `${height}px`;
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.clearRect(0, 0, width, height);
    paint(this.context, width, height);
  }

  close(): void {
    this.observer.disconnect();
  }
}

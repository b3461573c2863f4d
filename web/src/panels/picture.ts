import { element } from "../dom";
import type { PanelOf, Pixels } from "../messages";
import { follow, isPixels, type Pointer, type View } from "./panel";

/** An image, enlarged without smoothing. */
export class Picture implements View {
  readonly node: HTMLCanvasElement;
  private readonly context: CanvasRenderingContext2D;
  private image: ImageData;
  private dirty = false;

  constructor(panel: PanelOf<"picture">, pointer: Pointer) {
    this.node = element("canvas", { role: "img", "aria-label": panel.label, class: "picture" });
    this.context = this.node.getContext("2d")!;
    this.image = this.sized(panel.width, panel.height);
    if (panel.pointer) follow(this.node, pointer);
  }

  update(value: unknown): void {
    if (!isPixels(value)) return;
    if (value.width !== this.image.width || value.height !== this.image.height)
      this.image = this.sized(value.width, value.height);
    opaque(value, this.image.data);
    this.dirty = true;
  }

  draw(): void {
    if (this.dirty) this.context.putImageData(this.image, 0, 0);
    this.dirty = false;
  }

  private sized(width: number, height: number): ImageData {
    this.node.width = width;
    this.node.height = height;
    return this.context.createImageData(width, height);
  }
}

/** RGB to RGBA. */
export function opaque(pixels: Pixels, out: Uint8ClampedArray): void {
  const { data } = pixels;
  for (let from = 0, to = 0; from < data.length; from += 3, to += 4) {
    out[to] = data[from]!;
    out[to + 1] = data[from + 1]!;
    out[to + 2] = data[from + 2]!;
    out[to + 3] = 255;
  }
}

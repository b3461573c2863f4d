import { element } from "../dom";
import type { View } from "./panel";

/** A line of text. */
export class Text implements View {
  readonly node = element("p", { class: "text" });
  private value = "";

  update(value: unknown): void {
    this.value = String(value);
  }

  draw(): void {
    if (this.node.textContent !== this.value) this.node.textContent = this.value;
  }
}

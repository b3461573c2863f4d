import { element } from "../dom";
import type { ControlOf, Setting } from "../messages";
import { type Actions, freshId, type Widget } from "./control";

/** One of several options. */
export class Choice implements Widget {
  readonly node: HTMLElement;
  private readonly select: HTMLSelectElement;

  constructor(control: ControlOf<"choice">, actions: Actions) {
    const id = freshId();
    const options = control.options.map(({ value, label }) => element("option", { value }, label));
    this.select = element("select", { id }, ...options);
    this.node = element("div", { class: "choice" }, element("label", { for: id }, control.label), this.select);
    this.select.addEventListener("change", () => actions.set(control.name, this.select.value));
    this.show(control.value);
  }

  show(value: Setting): void {
    this.select.value = String(value);
  }
}

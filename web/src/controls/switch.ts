import { element } from "../dom";
import type { ControlOf, Setting } from "../messages";
import { type Actions, freshId, type Widget } from "./control";

/** On or off. */
export class Switch implements Widget {
  readonly node: HTMLElement;
  private readonly input: HTMLInputElement;

  constructor(control: ControlOf<"switch">, actions: Actions) {
    const id = freshId();
    this.input = element("input", { id, type: "checkbox", role: "switch" });
    this.node = element("div", { class: "switch" }, this.input, element("label", { for: id }, control.label));
    this.input.addEventListener("change", () => actions.set(control.name, this.input.checked));
    this.show(control.value);
  }

  show(value: Setting): void {
    this.input.checked = value === true;
  }
}

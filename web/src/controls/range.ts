import { element } from "../dom";
import type { ControlOf, Setting } from "../messages";
import { type Actions, freshId, type Widget } from "./control";

/** A number on a slider. */
export class Range implements Widget {
  readonly node: HTMLElement;
  private readonly input: HTMLInputElement;
  private readonly output: HTMLOutputElement;
  private readonly digits: number;

  constructor(control: ControlOf<"range">, actions: Actions) {
    const id = freshId();
    const { low, high, step } = control;
    this.digits = Math.min(4, (String(step).split(".")[1] ?? "").length);
    this.input = element("input", { id, type: "range", min: String(low), max: String(high), step: String(step) });
    this.output = element("output", { for: id });
    this.node = element(
      "div",
      { class: "range" },
      element("label", { for: id }, control.label),
      this.output,
      this.input,
    );
    this.input.addEventListener("input", () => {
      this.write();
      actions.set(control.name, this.input.valueAsNumber);
    });
    this.show(control.value);
  }

  show(value: Setting): void {
    this.input.value = String(value);
    this.write();
  }

  private write(): void {
    this.output.value = this.input.valueAsNumber.toFixed(this.digits);
  }
}

import { element } from "../dom";
import type { ControlOf } from "../messages";
import type { Actions, Widget } from "./control";

/** A button, perhaps with a key. */
export class Button implements Widget {
  readonly node: HTMLButtonElement;
  private readonly key: string;

  constructor(control: ControlOf<"button">, actions: Actions) {
    this.key = control.key?.toLowerCase() ?? "";
    this.node = element("button", { type: "button" }, control.label);
    if (this.key) {
      this.node.append(element("kbd", { "aria-hidden": "true" }, this.key === " " ? "space" : this.key));
      this.node.setAttribute("aria-keyshortcuts", this.key === " " ? "Space" : this.key);
    }
    this.node.addEventListener("click", () => actions.press(control.name));
  }

  keydown(event: KeyboardEvent): boolean {
    if (
      !this.key ||
      event.key.toLowerCase() !== this.key ||
      event.repeat ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey
    )
      return false;
    this.node.click();
    return true;
  }
}

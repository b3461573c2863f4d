import { element } from "../dom";
import type { ControlOf, Key } from "../messages";
import type { Actions, Widget } from "./control";

const KEYS: Record<string, Key> = {
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
  " ": "space",
  a: "left",
  d: "right",
  w: "up",
  s: "down",
};
const SIGNS: Record<Key, string> = { left: "←", right: "→", up: "↑", down: "↓", space: "space" };

/** Keys that are held, on the keyboard or as buttons on the screen. */
export class Steering implements Widget {
  readonly node: HTMLElement;
  private readonly held = new Set<Key>();
  private readonly buttons = new Map<Key, HTMLElement>();
  private readonly release = () => {
    if (this.held.size) {
      this.held.clear();
      this.changed();
    }
  };

  constructor(
    control: ControlOf<"steering">,
    private readonly actions: Actions,
  ) {
    const pad = element("div", { class: "pad" });
    for (const [key, label] of Object.entries(control.keys) as [Key, string][]) {
      const button = element(
        "button",
        { type: "button", class: key, "aria-label": label, title: label },
        SIGNS[key],
        element("small", {}, label),
      );
      button.addEventListener("pointerdown", (event) => {
        button.setPointerCapture(event.pointerId);
        this.hold(key, true);
      });
      for (const end of ["pointerup", "pointercancel", "blur"] as const)
        button.addEventListener(end, () => this.hold(key, false));
      button.addEventListener("contextmenu", (event) => event.preventDefault());
      this.buttons.set(key, button);
      pad.append(button);
    }
    this.node = element("div", { class: "steering" }, element("span", { class: "label" }, control.label), pad);
    window.addEventListener("blur", this.release);
  }

  keydown(event: KeyboardEvent): boolean {
    return this.key(event, true);
  }

  keyup(event: KeyboardEvent): boolean {
    return this.key(event, false);
  }

  close(): void {
    window.removeEventListener("blur", this.release);
  }

  private key(event: KeyboardEvent, down: boolean): boolean {
    const key = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!key || !this.buttons.has(key)) return false;
    // a key is released whatever else is held; a release of one that was not held is not ours
    if (down ? event.ctrlKey || event.metaKey || event.altKey : !this.held.has(key)) return false;
    this.hold(key, down);
    return true;
  }

  private hold(key: Key, down: boolean): void {
    if (this.held.has(key) === down) return;
    if (down) this.held.add(key);
    else this.held.delete(key);
    this.changed();
  }

  private changed(): void {
    for (const [key, button] of this.buttons) button.classList.toggle("held", this.held.has(key));
    this.actions.keys([...this.held]);
  }
}

import { element } from "../dom";
import type { ControlOf, Setting } from "../messages";
import { type Actions, freshId, type Widget } from "./control";

const STEPS: Record<string, number> = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/** A permutation: drag an item onto another to swap the two, or move the focused one with the arrow keys. */
export class Order implements Widget {
  readonly node: HTMLElement;
  private readonly list: HTMLOListElement;
  private readonly spoken: HTMLElement;
  private items: string[];
  private value: number[];

  constructor(
    private readonly control: ControlOf<"order">,
    private readonly actions: Actions,
  ) {
    this.items = control.items;
    this.value = control.value;
    const id = freshId();
    this.list = element("ol", { "aria-labelledby": id });
    this.spoken = element("p", { class: "hidden", "aria-live": "polite" });
    const hint = element("p", { class: "hint" }, "Drag one onto another to swap them, or use the arrow keys.");
    this.node = element(
      "div",
      { class: "order" },
      element("span", { id, class: "label" }, control.label),
      this.list,
      hint,
      this.spoken,
    );
    this.fill();
  }

  show(value: Setting, items?: string[]): void {
    if (!Array.isArray(value)) return;
    const focus = [...this.list.querySelectorAll("button")].indexOf(document.activeElement as HTMLButtonElement);
    if (items) this.items = items;
    this.value = value;
    this.fill();
    if (focus >= 0) this.chips()[Math.min(focus, value.length - 1)]?.focus();
  }

  private chips(): HTMLButtonElement[] {
    return [...this.list.querySelectorAll("button")];
  }

  private label(slot: number): string {
    return this.items[this.value[slot]!] ?? `channel ${this.value[slot]! + 1}`;
  }

  private fill(): void {
    const entries = this.value.map((_, slot) => {
      const chip = element(
        "button",
        { type: "button", "aria-label": `slot ${slot + 1}: ${this.label(slot)}` },
        this.label(slot),
      );
      chip.addEventListener("keydown", (event) => {
        const step = STEPS[event.key];
        if (!step) return;
        event.preventDefault();
        event.stopPropagation();
        this.swap(slot, slot + step);
      });
      this.draggable(chip, slot);
      return element("li", {}, chip);
    });
    this.list.replaceChildren(...entries);
  }

  private draggable(chip: HTMLButtonElement, slot: number): void {
    let start: { x: number; y: number } | null = null;
    const target = (event: PointerEvent): number => {
      const under = document.elementsFromPoint(event.clientX, event.clientY);
      return this.chips().findIndex((other) => other !== chip && under.includes(other));
    };
    const mark = (slot: number) => {
      this.chips().forEach((other, i) => {
        other.classList.toggle("target", i === slot);
      });
    };
    chip.addEventListener("pointerdown", (event) => {
      start = { x: event.clientX, y: event.clientY };
      chip.setPointerCapture(event.pointerId);
      chip.classList.add("dragged");
    });
    chip.addEventListener("pointermove", (event) => {
      if (!start) return;
      chip.style.transform = `translate(${event.clientX - start.x}px, ${event.clientY - start.y}px)`;
      mark(target(event));
    });
    const end = (event: PointerEvent) => {
      if (!start) return;
      start = null;
      chip.style.transform = "";
      chip.classList.remove("dragged");
      mark(-1);
      if (event.type === "pointerup") this.swap(slot, target(event));
    };
    chip.addEventListener("pointerup", end);
    chip.addEventListener("pointercancel", end);
  }

  private swap(from: number, to: number): void {
    if (to < 0 || to >= this.value.length || to === from) return;
    const value = [...this.value];
    [value[from], value[to]] = [value[to]!, value[from]!];
    this.value = value;
    this.fill();
    this.chips()[to]?.focus();
    this.spoken.textContent = `${this.label(to)} is in slot ${to + 1}`;
    this.actions.set(this.control.name, value);
  }
}

import type { Key, Setting } from "../messages";

/** A control on the page; `show` sets the value that the scene says. */
export interface Widget {
  readonly node: HTMLElement;
  show?(value: Setting, items?: string[]): void;
  /** A key was pressed anywhere on the page; returns whether the control used it. */
  keydown?(event: KeyboardEvent): boolean;
  keyup?(event: KeyboardEvent): boolean;
  close?(): void;
}

/** What a control does to the scene. */
export interface Actions {
  set(name: string, value: Setting): void;
  press(name: string): void;
  keys(held: Key[]): void;
}

let last = 0;

/** An id for the label of a control. */
export function freshId(): string {
  last += 1;
  return `control-${last}`;
}

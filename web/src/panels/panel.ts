import type { Panel, Pixels } from "../messages";

/** A panel on the page: `update` takes a value, `draw` shows the last one, `reset` clears what was appended. */
export interface View {
  readonly node: HTMLElement;
  update(value: unknown): void;
  draw(): void;
  reset?(): void;
  declare?(panel: Panel): void;
  close?(): void;
}

/** Called with positions in [0, 1] from the left and from the top. */
export type Pointer = (x: number, y: number, down: boolean) => void;

const INTERVAL = 25; // ms between two reports of a moving pointer: the server reads at most 150 messages per second

/** Report a pressed pointer over a node. */
export function follow(node: HTMLElement, pointer: Pointer): void {
  const report = (event: PointerEvent, down: boolean) => {
    const box = node.getBoundingClientRect();
    const inside = (value: number) => Math.min(1, Math.max(0, value));
    pointer(inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height), down);
  };
  let last = 0;
  node.style.touchAction = "none";
  node.classList.add("pointer");
  node.addEventListener("pointerdown", (event) => {
    node.setPointerCapture(event.pointerId);
    report(event, true);
  });
  node.addEventListener("pointermove", (event) => {
    if (!node.hasPointerCapture(event.pointerId) || event.timeStamp - last < INTERVAL) return;
    last = event.timeStamp;
    report(event, true);
  });
  for (const end of ["pointerup", "pointercancel"] as const)
    node.addEventListener(end, (event) => report(event, false));
}

export function isPixels(value: unknown): value is Pixels {
  return typeof value === "object" && value !== null && (value as Pixels).data instanceof Uint8Array;
}

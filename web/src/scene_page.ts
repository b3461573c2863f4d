import type { Widget } from "./controls/control";
import { widget } from "./controls/index";
import { element, onScheme } from "./dom";
import type { Frame, Panel, Scene, Setting } from "./messages";
import { framed, view } from "./panels/index";
import type { View } from "./panels/panel";
import type { Listener, Source } from "./source";

const ROW = 4; // px, as in the style sheet
const GAP = 24; // px
const PROBLEM = 6000; // ms

/** Draws a scene from its declaration and reports what the visitor does. */
export class ScenePage implements Listener {
  readonly node = element("div", { class: "scene" });
  private readonly message = element("p", { class: "message", role: "status", hidden: "" });
  private readonly title = element("h1");
  private readonly explanation = element("p", { class: "explanation" });
  private readonly panels = element("div", { class: "panels" });
  private readonly controls = element("aside", { class: "controls", "aria-label": "Controls" });
  private readonly speed = element("p", { class: "speed", "aria-hidden": "true" });
  private readonly endings: (() => void)[] = [];
  private source: Source | null = null;
  private views = new Map<string, View>();
  private widgets = new Map<string, Widget>();
  private waiting: number[] = [];
  private request = 0;
  private drawn: number[] = [];
  /** ms; a problem is shown until then, and until the next frame */
  private problemUntil = 0;
  /** panels of different heights are packed: each spans as many rows of the grid as it is tall */
  private readonly packing = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const figure = target as HTMLElement;
      figure.style.gridRowEnd = `span ${Math.ceil((figure.offsetHeight + GAP) / ROW)}`;
    }
  });

  constructor() {
    this.node.append(
      this.message,
      this.title,
      this.explanation,
      element("div", { class: "stage" }, this.panels, this.controls),
      this.speed,
    );
    this.title.textContent = "Loading …";
    const down = (event: KeyboardEvent) => this.key(event, "keydown");
    const up = (event: KeyboardEvent) => this.key(event, "keyup");
    window.addEventListener("keydown", down);
    window.addEventListener("keyup", up);
    this.endings.push(
      () => window.removeEventListener("keydown", down),
      () => window.removeEventListener("keyup", up),
      onScheme(() => window.dispatchEvent(new Event("resize"))),
    );
  }

  /** Use a source that was made with this page as its listener. */
  attach(source: Source, agent: string, scene: string): void {
    this.source = source;
    source.open(agent, scene, 0);
  }

  close(): void {
    this.source?.close();
    cancelAnimationFrame(this.request);
    for (const end of this.endings) end();
    this.clear();
  }

  scene(scene: Scene): void {
    this.clear();
    document.title = `${scene.title} – Sensorium`;
    this.title.textContent = scene.title;
    this.explanation.textContent = scene.explanation;
    this.node.dataset.scene = scene.name;
    for (const panel of scene.panels) {
      const made = view(panel, (x, y, down) => this.source?.pointer(panel.name, x, y, down));
      this.views.set(panel.name, made);
      const figure = framed(panel, made);
      this.packing.observe(figure);
      this.panels.append(figure);
    }
    let group: HTMLElement = this.controls;
    let heading: string | undefined;
    for (const control of scene.controls) {
      const made = widget(control, {
        set: (name, value) => this.source?.set(name, value),
        press: (name) => this.source?.press(name),
        keys: (held) => this.source?.keys(held),
      });
      if (control.group !== heading) {
        heading = control.group;
        group = heading ? element("fieldset", {}, element("legend", {}, heading)) : this.controls;
        if (heading) this.controls.append(group);
      }
      this.widgets.set(control.name, made);
      group.append(made.node);
    }
    this.controls.hidden = !scene.controls.length;
  }

  frame(frame: Frame): void {
    if (this.problemUntil && performance.now() > this.problemUntil) {
      this.problemUntil = 0;
      this.say("");
    }
    for (const name of frame.reset) this.views.get(name)?.reset?.();
    for (const [name, value] of Object.entries(frame.values)) this.views.get(name)?.update(value);
    for (const [name, value] of Object.entries(frame.pictures)) this.views.get(name)?.update(value);
    this.waiting.push(frame.frame);
    if (!this.request) this.request = requestAnimationFrame((time) => this.draw(time));
  }

  control(name: string, value: Setting, items?: string[]): void {
    this.widgets.get(name)?.show?.(value, items);
  }

  panel(panel: Panel): void {
    this.views.get(panel.name)?.declare?.(panel);
  }

  problem(message: string, fatal: boolean): void {
    this.say(message);
    this.problemUntil = fatal ? Number.POSITIVE_INFINITY : performance.now() + PROBLEM;
  }

  status(message: string): void {
    this.problemUntil = 0;
    this.say(message);
  }

  private say(message: string): void {
    this.message.textContent = message;
    this.message.hidden = !message;
  }

  private clear(): void {
    for (const made of this.views.values()) made.close?.();
    for (const made of this.widgets.values()) made.close?.();
    this.packing.disconnect();
    this.views = new Map();
    this.widgets = new Map();
    this.panels.replaceChildren();
    this.controls.replaceChildren();
  }

  private draw(time: number): void {
    this.request = 0;
    for (const made of this.views.values()) made.draw();
    for (const frame of this.waiting) this.source?.shown(frame);
    this.drawn = [...this.drawn, ...this.waiting.map(() => time)].filter((then) => then > time - 1000);
    this.waiting = [];
    this.speed.textContent = `${this.drawn.length} frames/s`;
    this.speed.dataset.rate = String(this.drawn.length);
  }

  private key(event: KeyboardEvent, kind: "keydown" | "keyup"): void {
    const target = event.target instanceof HTMLElement ? event.target : null;
    // a key that is held is released wherever the focus has gone
    if (kind === "keydown") {
      if (target?.closest("select, textarea, input:not([type=checkbox], [type=range])")) return;
      // a slider has arrows, Home and End, but no letters
      if (event.key.length > 1 && target?.closest("input[type=range]")) return;
      if (event.key === " " && target?.closest("button, input, a")) return;
    }
    for (const made of this.widgets.values()) {
      if (made[kind]?.(event)) {
        event.preventDefault();
        return;
      }
    }
  }
}

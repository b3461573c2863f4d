import { element } from "./dom";
import type { Agent } from "./messages";

/** Where an agent's scene is shown. */
export function address(agent: string, scene: string): string {
  return `#/${encodeURIComponent(agent)}/${encodeURIComponent(scene)}`;
}

/** All agents, each with a moving picture and its scenes. */
export class Gallery {
  readonly node = element("div", { class: "gallery" });
  private readonly grid = element("ul", { class: "cards" });
  private readonly pictures = new Map<string, HTMLElement>();
  /** the lists of scenes */
  private readonly lists = new Map<string, HTMLElement>();

  constructor(
    private readonly search: string,
    message: string,
  ) {
    if (message) this.node.append(element("p", { class: "message", role: "status" }, message));
    this.node.append(
      element("h1", {}, "Agents that learn to sense"),
      element(
        "p",
        { class: "explanation" },
        "Choose an agent: change what it senses, see its world as it does, or steer inside its dream.",
      ),
      this.grid,
    );
  }

  /** Show agents; called again, it adds the scenes and pictures that were missing. */
  show(agents: Agent[]): void {
    for (const agent of agents) {
      const shown = this.lists.get(agent.name);
      if (!shown || shown.childElementCount < agent.scenes.length) {
        const card = this.card(agent);
        if (shown) shown.closest(".card")!.replaceWith(card);
        else this.grid.append(card);
      }
      const place = this.pictures.get(agent.name)!;
      if (agent.thumbnail && !place.querySelector("img")) {
        const image = element("img", { src: agent.thumbnail + this.search, alt: "" });
        place.replaceChildren(image);
      }
    }
  }

  private card(agent: Agent): HTMLElement {
    const first = agent.scenes[0];
    const picture = element("div", { class: "thumbnail" });
    this.pictures.set(agent.name, picture);
    const title = element(
      "h2",
      {},
      first ? element("a", { href: address(agent.name, first.name) }, agent.title) : agent.title,
    );
    const links = agent.scenes.map((scene) =>
      element("li", {}, element("a", { href: address(agent.name, scene.name) }, scene.title)),
    );
    const about = element(
      "p",
      { class: "about" },
      [agent.name === agent.title ? "" : agent.name, agent.score ?? ""].filter(Boolean).join(" · "),
    );
    const scenes = element("ul", { class: "scenes" }, ...links);
    this.lists.set(agent.name, scenes);
    return element("li", { class: "card" }, picture, title, about, scenes);
  }
}

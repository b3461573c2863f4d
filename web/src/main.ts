import { Connection } from "./connection";
import { element } from "./dom";
import { address, Gallery } from "./gallery";
import type { Agent } from "./messages";
import { ScenePage } from "./scene_page";
import { exportedAgents, LocalSource } from "./scenes/local";

const POLL = 3000; // ms

const MALFORMED = "The address names no agent: the part after # is malformed.";

/** The agent and the scene that a fragment names; nothing for one that is malformed. */
function named(fragment: string): string[] {
  try {
    return fragment.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

/** The page: a gallery, or the scene that the address names. */
class Main {
  private readonly header = document.getElementById("header")!;
  private readonly content = document.getElementById("content")!;
  private readonly exported = document.documentElement.dataset.export;
  private agents: Agent[] = [];
  private page: ScenePage | null = null;
  private gallery: Gallery | null = null;

  async start(): Promise<void> {
    window.addEventListener("hashchange", () => this.route());
    if (!(await this.load())) return;
    this.route();
  }

  private async load(): Promise<boolean> {
    try {
      this.agents = this.exported ? await exportedAgents(this.exported) : await this.served();
      return true;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.content.replaceChildren(
        element("p", { class: "message", role: "alert" }, `The agents could not be loaded: ${reason}.`),
      );
      return false;
    }
  }

  private async served(): Promise<Agent[]> {
    const response = await fetch(`api/gallery${location.search}`);
    if (!response.ok)
      throw new Error(
        response.status === 403 || response.status === 401
          ? "the address lacks the right token"
          : `the server answers ${response.status}`,
      );
    return ((await response.json()) as { agents: Agent[] }).agents;
  }

  private route(): void {
    this.page?.close();
    this.page = null;
    this.gallery = null;
    const [name, scene] = named(location.hash);
    const agent = this.addressed(name);
    const chosen = agent && (agent.scenes.find((one) => one.name === scene) ?? agent.scenes[0]);
    this.title(agent, chosen?.name);
    if (agent && chosen) this.showScene(agent.name, chosen.name);
    else this.showGallery(name === undefined ? MALFORMED : name && !agent ? `There is no agent ${name} here.` : "");
    window.scrollTo(0, 0);
  }

  /** The agent of a name; without a name the only one. */
  private addressed(name: string | undefined): Agent | undefined {
    return this.agents.find((one) => one.name === name || (name === "" && this.agents.length === 1));
  }

  private title(agent: Agent | undefined, scene: string | undefined): void {
    const home = element("a", { class: "home", href: "#/" }, "Sensorium");
    const several = this.agents.length > 1 || this.agents.some((one) => one.scenes.length > 1);
    const links = (agent?.scenes ?? []).map((one) => {
      const link = element("a", { href: address(agent!.name, one.name) }, one.title);
      if (one.name === scene) link.setAttribute("aria-current", "page");
      return link;
    });
    this.header.replaceChildren(home);
    if (agent) this.header.append(element("span", { class: "agent" }, agent.title));
    if (several && links.length) this.header.append(element("nav", { "aria-label": "Scenes of this agent" }, ...links));
  }

  private showScene(agent: string, scene: string): void {
    const page = new ScenePage();
    this.page = page;
    this.content.replaceChildren(page.node);
    const secure = location.protocol === "https:" ? "wss:" : "ws:";
    const base = new URL(".", location.href);
    const source = this.exported
      ? new LocalSource(this.exported, page)
      : new Connection(`${secure}//${base.host}${base.pathname}api/scene${location.search}`, page);
    page.attach(source, agent, scene);
  }

  private showGallery(message: string): void {
    document.title = "Sensorium";
    const gallery = new Gallery(location.search, message);
    this.gallery = gallery;
    this.content.replaceChildren(gallery.node);
    gallery.show(this.agents);
    if (!this.exported) void this.poll(gallery);
  }

  /** Thumbnails are made in the background: ask again until all are there. */
  private async poll(gallery: Gallery): Promise<void> {
    while (this.agents.some((agent) => agent.thumbnail === null)) {
      await new Promise((resolve) => setTimeout(resolve, POLL));
      if (this.gallery !== gallery) return;
      try {
        this.agents = await this.served();
      } catch {
        continue;
      }
      // the agent that the address names may have its scenes by now
      if (this.addressed(named(location.hash)[0])?.scenes.length) {
        this.route();
        return;
      }
      gallery.show(this.agents);
    }
  }
}

void new Main().start();

import { decodeFrame, type Key, type ServerText, type Setting } from "./messages";
import type { Listener, Source } from "./source";

const FIRST_WAIT = 500; // ms
const LONGEST_WAIT = 8000;
const FULL = 1013; // the code with which a full server closes

/** A scene on a server, over one WebSocket that is opened again when it breaks. */
export class Connection implements Source {
  private socket: WebSocket | null = null;
  private wanted: { agent: string; scene: string; seed: number } | null = null;
  private wait = FIRST_WAIT;
  private timer = 0;
  private closed = false;
  private broken = false;

  constructor(
    private readonly url: string,
    private readonly listener: Listener,
  ) {
    this.connect();
  }

  open(agent: string, scene: string, seed: number): void {
    this.wanted = { agent, scene, seed };
    this.send({ type: "open", ...this.wanted });
  }

  set(name: string, value: Setting): void {
    this.send({ type: "set", name, value });
  }

  press(name: string): void {
    this.send({ type: "press", name });
  }

  keys(held: Key[]): void {
    this.send({ type: "keys", held });
  }

  pointer(panel: string, x: number, y: number, down: boolean): void {
    this.send({ type: "pointer", panel, x, y, down });
  }

  shown(frame: number): void {
    this.send({ type: "shown", frame });
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }

  private send(message: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private connect(): void {
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      if (this.wanted) this.send({ type: "open", ...this.wanted });
    };
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
      this.wait = FIRST_WAIT;
      if (this.broken) this.listener.status("");
      this.broken = false;
      if (typeof event.data === "string") this.text(JSON.parse(event.data) as ServerText);
      else this.listener.frame(decodeFrame(event.data));
    };
    socket.onclose = ({ code, reason }) => {
      if (this.closed) return;
      this.broken = true;
      this.listener.status(
        code === FULL
          ? `The server is full: ${reason}. Trying again …`
          : "The connection to the server is lost. Trying again …",
      );
      this.timer = window.setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
    };
  }

  private text(message: ServerText): void {
    if (message.type === "scene") this.listener.scene(message);
    else if (message.type === "problem") this.listener.problem(message.message, message.fatal);
    else if (message.type === "control") this.listener.control(message.name, message.value, message.items);
    else if (message.type === "panel") this.listener.panel(message.panel);
  }
}

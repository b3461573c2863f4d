import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Connection } from "../src/connection";
import type { Listener } from "../src/source";

class FakeSocket {
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readyState = 0;
  sent: unknown[] = [];
  onopen: () => void = () => {};
  onclose: (event: { code: number; reason: string }) => void = () => {};
  onmessage: (event: { data: string }) => void = () => {};

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  accept(): void {
    this.readyState = FakeSocket.OPEN;
    this.onopen();
  }
}

function listener() {
  const names = ["scene", "frame", "control", "panel", "problem", "status"] as const;
  return Object.fromEntries(names.map((name) => [name, vi.fn()])) as unknown as Listener;
}

describe("a connection", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    FakeSocket.all = [];
    vi.stubGlobal("WebSocket", FakeSocket);
    vi.stubGlobal("window", globalThis);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("opens the scene that is wanted, and passes messages on", () => {
    const told = listener();
    const connection = new Connection("ws://here/api/scene", told);
    connection.open("cart-pole", "senses", 0);
    const [socket] = FakeSocket.all;
    socket!.accept();
    expect(socket!.sent).toEqual([{ type: "open", agent: "cart-pole", scene: "senses", seed: 0 }]);
    socket!.onmessage({ data: JSON.stringify({ type: "control", name: "order", value: [1, 0], items: ["a", "b"] }) });
    expect(told.control).toHaveBeenCalledWith("order", [1, 0], ["a", "b"]);
    connection.shown(4);
    expect(socket!.sent.at(-1)).toEqual({ type: "shown", frame: 4 });
  });

  it("says that it is lost, waits longer each time, and opens the same scene again", () => {
    const told = listener();
    new Connection("ws://here/api/scene", told).open("ant", "senses", 0);
    FakeSocket.all[0]!.accept();
    FakeSocket.all[0]!.close();
    expect(told.status).toHaveBeenLastCalledWith(expect.stringContaining("lost"));
    vi.advanceTimersByTime(500);
    expect(FakeSocket.all.length).toBe(2);
    FakeSocket.all[1]!.close();
    vi.advanceTimersByTime(500);
    expect(FakeSocket.all.length).toBe(2);
    vi.advanceTimersByTime(500);
    FakeSocket.all[2]!.accept();
    FakeSocket.all[2]!.onmessage({ data: JSON.stringify({ type: "panel", panel: {} }) });
    expect(told.status).toHaveBeenLastCalledWith("");
    expect(FakeSocket.all[2]!.sent).toEqual([{ type: "open", agent: "ant", scene: "senses", seed: 0 }]);
  });

  it("says that a server is full, and goes on trying", () => {
    const told = listener();
    new Connection("ws://here/api/scene", told).open("ant", "senses", 0);
    FakeSocket.all[0]!.accept();
    FakeSocket.all[0]!.close(1013, "all 16 places of this server are taken");
    expect(told.status).toHaveBeenLastCalledWith(
      "The server is full: all 16 places of this server are taken. Trying again …",
    );
    vi.advanceTimersByTime(500);
    expect(FakeSocket.all.length).toBe(2);
  });

  it("stays closed where the page has closed it", () => {
    const connection = new Connection("ws://here/api/scene", listener());
    connection.close();
    vi.advanceTimersByTime(60_000);
    expect(FakeSocket.all.length).toBe(1);
  });
});

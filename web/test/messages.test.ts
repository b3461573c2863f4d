import { describe, expect, it } from "vitest";
import { decodeFrame } from "../src/messages";
import { opaque } from "../src/panels/picture";

function encoded(header: object, blob: number[]): ArrayBuffer {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(4 + json.length + blob.length);
  new DataView(bytes.buffer).setUint32(0, json.length, true);
  bytes.set(json, 4);
  bytes.set(blob, 4 + json.length);
  return bytes.buffer;
}

describe("a frame", () => {
  it("has values and pictures", () => {
    const header = {
      frame: 7,
      values: { a: [1, 2] },
      blobs: [{ panel: "p", offset: 2, length: 6, width: 2, height: 1 }],
    };
    const frame = decodeFrame(encoded(header, [0, 0, 1, 2, 3, 4, 5, 6]));
    expect(frame.frame).toBe(7);
    expect(frame.values).toEqual({ a: [1, 2] });
    expect(frame.reset).toEqual([]);
    const picture = frame.pictures.p!;
    expect([...picture.data]).toEqual([1, 2, 3, 4, 5, 6]);
    const out = new Uint8ClampedArray(8);
    opaque(picture, out);
    expect([...out]).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
  });

  it("is refused where its picture has another size", () => {
    const header = { frame: 1, values: {}, blobs: [{ panel: "p", offset: 0, length: 3, width: 2, height: 1 }] };
    expect(() => decodeFrame(encoded(header, [1, 2, 3]))).toThrow(RangeError);
  });
});

import { describe, expect, it } from "vitest";
import { projection } from "../src/panels/bodies";

describe("the view of bodies", () => {
  const eye = projection([1, 2], 300, 200);

  it("has what is followed in the middle", () => {
    const { x, y } = eye(1, 2, 0.4);
    expect(x).toBeCloseTo(150);
    expect(y).toBeCloseTo(104);
  });

  it("shows what is higher above, and what is nearer larger", () => {
    expect(eye(1, 2, 1).y).toBeLessThan(eye(1, 2, 0).y);
    const [near, far] = [eye(2, 1, 0), eye(0, 3, 0)];
    expect(Math.sign(near.depth - far.depth)).toBe(Math.sign(far.scale - near.scale));
  });
});
